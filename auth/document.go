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
				subject := strings.ReplaceAll(fill(r.Subject, n, "<name>", "<action>"), "{stream}", "<stream>")
				fmt.Fprintf(&b, "| %s | `%s` | %s |\n", r.Way, subject, r.For)
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "`<stream>` is each of `%s`.\n", strings.Join(Streams(n), "`, `"))
	return b.String()
}
