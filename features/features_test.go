package features

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cucumber/godog"
)

// checks is the number of checks in the review list.
const checks = 16

// isolationCheck is the tag of what is played with credentials too.
const isolationCheck = "@check-12"

// atOnce is the number of scenarios that run side by side.
const atOnce = 4

// storages lists what every feature runs on, and the one with credentials on
// which what users are to each other is played once more.
func storages() []storage {
	return []storage{
		{name: "memory", memory: true},
		{name: "file"},
		{name: "credentials", memory: true, badged: true, features: []string{"isolation.feature"}},
	}
}

func TestFeatures(t *testing.T) {
	for _, s := range storages() {
		t.Run(s.name, func(t *testing.T) { runFeatures(t, s) })
	}
}

// runFeatures runs every scenario of one storage, and fails if a check of the
// review list had none that ran.
func runFeatures(t *testing.T, s storage) {
	shared := sharedService(t, s)
	ran, paths := &tally{}, []string{"."}
	if len(s.features) > 0 {
		paths = s.features
	}
	suite := godog.TestSuite{
		Name: s.name,
		ScenarioInitializer: func(sc *godog.ScenarioContext) {
			register(sc, newWorld(shared, ran.number(), t.TempDir))
			sc.After(ran.count)
		},
		Options: &godog.Options{
			Format: "progress", Output: io.Discard, Strict: true, Concurrency: atOnce,
			Paths: paths, TestingT: t,
		},
	}
	if status := suite.Run(); status != 0 {
		t.Errorf("the features ended with status %d", status)
	}
	if ran.total == 0 {
		t.Fatal("no scenario ran")
	}
	for _, tag := range ran.missing() {
		if len(s.features) == 0 || tag == isolationCheck {
			t.Errorf("no scenario of %s ran", tag)
		}
	}
}

// tally counts the scenarios that ran to their end, by tag.
type tally struct {
	mu      sync.Mutex
	numbers int
	total   int
	byTag   map[string]int
}

// number returns a number that no other scenario of the run has.
func (t *tally) number() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.numbers++
	return t.numbers
}

func (t *tally) count(ctx context.Context, sc *godog.Scenario, err error) (context.Context, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		return ctx, nil
	}
	t.total++
	if t.byTag == nil {
		t.byTag = map[string]int{}
	}
	for _, tag := range sc.Tags {
		t.byTag[tag.Name]++
	}
	return ctx, nil
}

// missing lists the checks of which no scenario ran.
func (t *tally) missing() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var none []string
	for _, tag := range checkTags() {
		if t.byTag[tag] == 0 {
			none = append(none, tag)
		}
	}
	return none
}

// checkTags lists the tags of the review list.
func checkTags() []string {
	tags := make([]string, checks)
	for i := range tags {
		tags[i] = fmt.Sprintf("@check-%02d", i+1)
	}
	return tags
}

// register gives a scenario its steps and a world of its own.
func register(sc *godog.ScenarioContext, w *world) {
	for _, steps := range []func(*godog.ScenarioContext){
		w.givenSessions, w.givenWork, w.givenServices,
		w.whenCreating, w.whenCommanding, w.whenChanging, w.whenTogether, w.whenQueueing, w.whenReading, w.whenWorking, w.whenRestarting,
		w.thenAnswers, w.thenSessions, w.thenLists, w.thenHistories, w.thenErrors, w.thenWork, w.credentials, w.portability, w.housekeeping, w.execution, w.waiting,
	} {
		steps(sc)
	}
	sc.After(func(ctx context.Context, _ *godog.Scenario, _ error) (context.Context, error) {
		return ctx, errors.Join(w.nobodyCrosses(), w.close())
	})
}

func TestMissingChecksAreNamed(t *testing.T) {
	ran := &tally{byTag: map[string]int{"@check-01": 1}}
	missing := ran.missing()
	if len(missing) != checks-1 || slices.Contains(missing, "@check-01") || !strings.HasSuffix(missing[14], "16") {
		t.Errorf("missing = %v", missing)
	}
}
