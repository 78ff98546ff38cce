// Package arch holds no code: its test keeps the picture in
// docs/architecture.md true. It reads what every package of every module
// imports and checks it against the table below.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the path of the root module.
const module = "reprise"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string   `json:"ImportPath"`
	Dir          string   `json:"Dir"`
	Imports      []string `json:"Imports"`
	TestImports  []string `json:"TestImports"`
	XTestImports []string `json:"XTestImports"`
	Module       struct {
		Path string `json:"Path"`
	} `json:"Module"`
}

// rule says what the packages below a folder may import of this project.
type rule struct {
	// stdlibOnly also forbids everything outside the standard library.
	stdlibOnly bool
	// only are the folders that may be imported.
	only []string
}

// rules has the folders from the bottom to the top. An import within the folder
// is always fine, and nobody imports cmd. A part of a folder may have a rule of
// its own.
var rules = map[string]rule{
	"domain":         {stdlibOnly: true},
	"contract":       {stdlibOnly: true, only: []string{"domain"}},
	"eventstore":     {only: []string{"domain", "contract", killpoint}},
	"projections":    {only: []string{"domain", "contract", "eventstore", killpoint}},
	"archive":        {only: []string{"domain", "contract", "eventstore", killpoint}},
	"auth":           {only: []string{"domain", "contract"}},
	"natsnode":       {},
	"engine/cleanup": {only: []string{"domain", "contract", "eventstore", "projections", killpoint}},
	"engine":         {only: []string{"domain", "contract", "eventstore", "projections", "archive", "engine/cleanup", killpoint}},
	"client":         {only: []string{"domain", "contract"}},
	"worker":         {only: []string{"domain", "contract"}},
	"actions":        {only: []string{"domain", "contract", "worker"}},
	killpoint:        {stdlibOnly: true},
	"internal/load":  {only: []string{"domain", "contract"}},
}

// killpoint is where tests have a process die.
const killpoint = "internal/killpoint"

// testLibraries may be used by the modules for tests alone, so that importers
// of the root module inherit none of them.
var testLibraries = []string{"github.com/stretchr/testify", "github.com/cucumber/godog", "pgregory.net/rapid"}

func TestImportsPointDownward(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < len(rules) {
		t.Fatalf("only %d packages were found", len(packages))
	}
	for _, p := range packages {
		noteFiles(t, p.Dir)
		for _, broken := range violations(p) {
			t.Error(broken)
		}
	}
}

// noteFiles looks at the files of a package, so that go test doesn't take this
// test's last result from its cache when one of them has changed.
func noteFiles(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if _, err := os.Stat(filepath.Join(dir, entry.Name())); err != nil {
			t.Log(err) // it has just been removed
		}
	}
}

// listPackages reads the packages of all modules of the workspace.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,Module", module+"/...").Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// violations returns a sentence for each import that a package may not have.
func violations(p pkg) []string {
	var broken []string
	say := func(imported, why string) { broken = append(broken, p.ImportPath+" imports "+imported+": "+why) }
	folder := folderOf(p.ImportPath)
	for _, imported := range p.Imports {
		if why := forbidden(folder, imported); why != "" {
			say(imported, why)
		}
	}
	for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
		if p.Module.Path == module && hasPrefix(imported, testLibraries) {
			say(imported, "the root module has plain tests")
		}
		if folderOf(imported) == "cmd" && folder != "cmd" {
			say(imported, "nobody imports the command")
		}
	}
	return broken
}

// forbidden says why a folder may not import a package, or "".
func forbidden(folder, imported string) string {
	r, ruled := rules[folder]
	target := folderOf(imported)
	switch {
	case !ruled, target == folder:
		return ""
	case target == "":
		if r.stdlibOnly && strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
			return folder + " has the standard library only"
		}
		return ""
	case !slices.Contains(r.only, target):
		return folder + " may import " + listed(r.only)
	}
	return ""
}

func listed(folders []string) string {
	if len(folders) == 0 {
		return "nothing else here"
	}
	return strings.Join(folders, ", ") + " alone"
}

// folderOf is the first folder of a package of this project, or the part of it
// that has a rule; "" for others.
func folderOf(path string) string {
	rest, ours := strings.CutPrefix(path, module+"/")
	if !ours {
		return ""
	}
	folder, below, _ := strings.Cut(rest, "/")
	part, _, _ := strings.Cut(below, "/")
	if _, ruled := rules[folder+"/"+part]; ruled {
		return folder + "/" + part
	}
	return folder
}

func hasPrefix(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

// TestRulesCatch plants imports that must be caught, and some that must not.
func TestRulesCatch(t *testing.T) {
	tests := map[string]struct {
		path, imports, tests string
		want                 string
	}{
		"domain, a library":          {"reprise/domain", "github.com/google/uuid", "", "standard library only"},
		"domain, the contract":       {"reprise/domain", "reprise/contract", "", "nothing else here"},
		"domain, the library":        {"reprise/domain", "encoding/json", "", ""},
		"contract, the domain":       {"reprise/contract", "reprise/domain", "", ""},
		"contract, the store":        {"reprise/contract", "reprise/eventstore", "", "domain alone"},
		"a driver, its store":        {"reprise/eventstore/jetstream", "reprise/eventstore", "", ""},
		"a driver, projections":      {"reprise/eventstore/jetstream", "reprise/projections", "", "alone"},
		"projections, the engine":    {"reprise/projections", "reprise/engine", "", "alone"},
		"engine, a client":           {"reprise/engine", "reprise/client", "", "alone"},
		"engine, its cleanup":        {"reprise/engine", "reprise/engine/cleanup", "", ""},
		"cleanup, the store":         {"reprise/engine/cleanup", "reprise/eventstore", "", ""},
		"cleanup, an archive":        {"reprise/engine/cleanup", "reprise/archive", "", "alone"},
		"cleanup, the engine":        {"reprise/engine/cleanup", "reprise/engine", "", "alone"},
		"an archive, a driver":       {"reprise/archive", "reprise/eventstore/jetstream", "", ""},
		"an archive, projections":    {"reprise/archive", "reprise/projections", "", "alone"},
		"the store, a kill point":    {"reprise/eventstore", "reprise/internal/killpoint", "", ""},
		"a kill point, a library":    {"reprise/internal/killpoint", "github.com/google/uuid", "", "standard library only"},
		"actions, the worker":        {"reprise/actions", "reprise/worker", "", ""},
		"actions, a client":          {"reprise/actions", "reprise/client", "", "alone"},
		"roles, the engine":          {"reprise/auth", "reprise/engine", "", "alone"},
		"client, the store":          {"reprise/client", "reprise/eventstore", "", "alone"},
		"worker, the engine":         {"reprise/worker", "reprise/engine", "", "alone"},
		"a test of the worker":       {"reprise/worker", "", "reprise/engine", ""},
		"somebody, the command":      {"reprise/internal/x", "reprise/cmd/reprise", "", "nobody imports"},
		"a test, the command":        {"reprise/engine", "", "reprise/cmd/reprise", "nobody imports"},
		"a test library in the root": {"reprise/engine", "", "github.com/stretchr/testify/require", "plain tests"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := pkg{ImportPath: test.path, Imports: strings.Fields(test.imports), TestImports: strings.Fields(test.tests)}
			p.Module.Path = module
			got := strings.Join(violations(p), "\n")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
