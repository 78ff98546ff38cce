package auth

import (
	"fmt"
	"strings"

	"reprise/contract"
)

// Markdown writes the table for docs/security.md, with the subjects of the default
// prefix.
func Markdown() string {
	n := contract.Default()
	var b strings.Builder
	for _, role := range Roles() {
		fmt.Fprintf(&b, "### %s, in account %s\n\n| way | subject | for |\n|---|---|---|\n", role, role.account())
		for _, r := range table {
			if r.Role == role {
				subject := strings.NewReplacer("{stream}", "<stream>", "{own}", "<own>", "{any}", "<any>").Replace(fill(r.Subject, n, "<name>", "<action>"))
				fmt.Fprintf(&b, "| %s | `%s` | %s |\n", r.Way, subject, r.For)
			}
		}
		b.WriteString("\n")
	}
	own, all := ownStreams(n), Streams(n)
	fmt.Fprintf(&b, "`<own>` is each of `%s`; `<stream>` is each of these and `%s`; `<any>` is each of those and `%s`.\n",
		strings.Join(own, "`, `"), all[len(own)], all[len(own)+1])
	return b.String()
}
