package features

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gherkin "github.com/cucumber/gherkin/go/v26"
	messages "github.com/cucumber/messages/go/v21"
)

// reviewFile is the map from the review list to the scenarios. UPDATE=1 writes
// it anew.
const reviewFile = "../docs/review.md"

// check is one line of the review list.
type check struct{ title, promise, later string }

// reviewList is the acceptance list of the users, and what of it is finished by
// parts that come after these features.
func reviewList() []check {
	return []check{
		{"Creation", "valid session id, user id, initial PENDING; stored at once", ""},
		{"Read", "all data accurate; an unknown id gives the proper error", ""},
		{"Update", "state changes persist; concurrent updates don't corrupt", ""},
		{"Delete", "removed completely with chains and steps; deleting what isn't there is handled", ""},
		{"Transitions", "invalid ones are rejected strictly, the message says why", ""},
		{"Pause", "only RUNNING; execution halts; visible in the state", ""},
		{"Resume", "only PAUSED; goes on where it paused", ""},
		{"Cancel", "from RUNNING or PAUSED only; running and pending steps CANCELLED; cleanup triggered", "cleanup by policy"},
		{"Retry", "only failed steps; RUNNING, then SUCCESS or FAILED; session RUNNING meanwhile", ""},
		{"Skip", "only PENDING or FAILED; no bad effect on chain or session; downstream steps handle it", ""},
		{"Validation", "only commands legal in the state; conflicting commands don't corrupt; queued and batched commands safe", ""},
		{"Isolation", "sessions don't interfere; users reach only their own; queries leak nothing", "accounts and permissions on the server"},
		{"Hierarchy", "chains belong to their session, steps to their chain; moving or deleting a chain updates the parent; orphans detected and cleaned", "the search for orphans in storage"},
		{"Propagation", "step to chain to session, transactional", ""},
		{"Errors", "FAILED with details; timeouts give step TIMEOUT and session FAILED; messages and stack traces kept", ""},
		{"Storage", "memory storage for development, durable storage for production; data survives a restart; switching backends loses nothing", ""},
	}
}

// scenario is one example of a feature with what the review needs of it.
type scenario struct {
	file, feature, rule, name string
	tags                      []string
	steps                     []*messages.Step
}

// readFeatures parses every feature file.
func readFeatures(t *testing.T) []scenario {
	t.Helper()
	files, err := filepath.Glob("*.feature")
	if err != nil || len(files) == 0 {
		t.Fatalf("no feature files: %v", err)
	}
	var all []scenario
	for _, file := range files {
		all = append(all, readFeature(t, file)...)
	}
	return all
}

func readFeature(t *testing.T, file string) []scenario {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	doc, err := gherkin.ParseGherkinDocument(f, (&messages.Incrementing{}).NewId)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var all []scenario
	for _, child := range doc.Feature.Children {
		if child.Rule == nil {
			t.Errorf("%s: everything in a feature stands under a Rule", file)
			continue
		}
		base := scenario{file: file, feature: doc.Feature.Name, rule: child.Rule.Name}
		base.tags = append(tagNames(doc.Feature.Tags), tagNames(child.Rule.Tags)...)
		all = append(all, readRule(base, child.Rule)...)
	}
	return all
}

func readRule(base scenario, rule *messages.Rule) []scenario {
	var all []scenario
	var background []*messages.Step
	for _, child := range rule.Children {
		switch {
		case child.Background != nil:
			background = child.Background.Steps
		case child.Scenario != nil:
			one := base
			one.name = child.Scenario.Name
			one.tags = append(slices.Clone(base.tags), tagNames(child.Scenario.Tags)...)
			one.steps = append(slices.Clone(background), child.Scenario.Steps...)
			all = append(all, one)
		}
	}
	return all
}

func tagNames(tags []*messages.Tag) []string {
	var all []string
	for _, tag := range tags {
		all = append(all, tag.Name)
	}
	return all
}

// implementationWords would change if the implementation did.
var implementationWords = regexp.MustCompile(`(?i)\b(nats|jetstream|stream|subject|bucket|kv|json|header|http|postgres|goroutine|commit|projection|snapshot|sequence|endpoint|subscri\w+|publish(?:es|ed) on)\b`)

func TestFeaturesAreWrittenInStyle(t *testing.T) {
	byRule, names := map[string]int{}, map[string]bool{}
	for _, s := range readFeatures(t) {
		at := s.file + ": " + s.name
		byRule[s.file+": "+s.rule]++
		if full := s.file + s.rule + s.name; names[full] {
			t.Errorf("%s: the name stands twice under its rule", at)
		} else {
			names[full] = true
		}
		if n := len(s.steps); n < 3 || n > 5 {
			t.Errorf("%s: %d steps; an example has 3 to 5", at, n)
		}
		if n := whens(s.steps); n != 1 {
			t.Errorf("%s: %d Whens; an example has one", at, n)
		}
		for _, step := range s.steps {
			if word := implementationWords.FindString(step.Text); word != "" {
				t.Errorf("%s: %q speaks of the implementation: %s", at, word, step.Text)
			}
		}
		if !slices.ContainsFunc(s.tags, func(tag string) bool { return slices.Contains(checkTags(), tag) }) {
			t.Errorf("%s: no check of the review list", at)
		}
	}
	for rule, n := range byRule {
		if n > 4 {
			t.Errorf("%s: %d examples; a rule has 1 to 4", rule, n)
		}
	}
}

func whens(steps []*messages.Step) int {
	n := 0
	for _, step := range steps {
		if step.KeywordType == messages.StepKeywordType_ACTION {
			n++
		}
	}
	return n
}

func TestReviewListIsMapped(t *testing.T) {
	want := review(readFeatures(t))
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(reviewFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reviewFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s doesn't say what the features hold; UPDATE=1 go test writes it anew", reviewFile)
	}
}

// review writes the map.
func review(all []scenario) string {
	var b strings.Builder
	b.WriteString("# The review list and its scenarios\n\n" +
		"Every check of the review list is carried out by scenarios in `features/`, on memory\n" +
		"storage and on file storage, with requests of a plain NATS client; those of isolation.feature\n" +
		"once more with credentials of everybody's own. This file is made\n" +
		"from them: `cd features && UPDATE=1 go test -run TestReviewListIsMapped`.\n\n" +
		"| check | | scenarios |\n|---|---|---|\n")
	for i, c := range reviewList() {
		fmt.Fprintf(&b, "| [%02d](#check-%02d) | %s | %d |\n", i+1, i+1, c.title, len(tagged(all, i)))
	}
	for i, c := range reviewList() {
		fmt.Fprintf(&b, "\n## Check %02d\n\n**%s**: %s.\n", i+1, c.title, c.promise)
		if c.later != "" {
			fmt.Fprintf(&b, "Not in these features: %s.\n", c.later)
		}
		writeScenarios(&b, tagged(all, i))
	}
	return b.String()
}

// tagged lists the scenarios of a check, counted from 0.
func tagged(all []scenario, i int) []scenario {
	var of []scenario
	for _, s := range all {
		if slices.Contains(s.tags, checkTags()[i]) {
			of = append(of, s)
		}
	}
	return of
}

func writeScenarios(b *strings.Builder, all []scenario) {
	rule := ""
	for _, s := range all {
		if next := s.file + s.rule; next != rule {
			rule = next
			fmt.Fprintf(b, "\n[%s](../features/%s): %s\n\n", s.feature, s.file, s.rule)
		}
		fmt.Fprintf(b, "- %s\n", s.name)
	}
}
