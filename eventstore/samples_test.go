package eventstore_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// envUpdate rewrites the files under testdata. A sample of a shape that was
// released must never be rewritten: a new shape is a new version with an upcast.
const envUpdate = "REPRISE_UPDATE"

// fill sets every field of a value that JSON shows to something that is not
// zero, always the same.
func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(epoch))
		return
	case domain.Duration:
		v.SetInt(int64(time.Minute))
		return
	case json.RawMessage:
		v.SetBytes([]byte(`{"a":[1,"<&>"]}`))
		return
	case domain.State:
		v.SetString(string(domain.StateRunning))
		return
	case domain.ChainStatus:
		v.SetString(string(domain.ChainStatusPending))
		return
	case domain.StepStatus:
		v.SetString(string(domain.StepStatusPending))
		return
	}
	fillKind(v)
}

func fillKind(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(2)
	case reflect.Uint64:
		v.SetUint(3)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), reflect.ValueOf("y"))
	case reflect.Struct:
		for what, field := range v.Fields() {
			if what.IsExported() {
				fill(field)
			}
		}
	default:
		panic("no sample for " + v.Type().String())
	}
}

// sample is a commit with one event of a type, every field of which is set.
func sample(t domain.EventType) *domain.Commit {
	event := domain.NewEvent(t)
	fill(reflect.ValueOf(event).Elem())
	return &domain.Commit{
		ID: "c1", Session: "s1", User: "ada", Version: 5, Time: epoch.Add(123456789), Actor: "ada", Cause: domain.VerbBatch,
		State: domain.StateRunning, Digest: eventstore.Hash([]byte("digest")), Prev: eventstore.Hash([]byte("prev")), Queue: 17,
		Results: []domain.Result{{Verb: domain.VerbStart, Code: domain.CodeAlready, Message: "it is", Events: 1}},
		Events:  []domain.Event{event},
	}
}

// stored is a body as a message of the session that samples are of.
func stored(body []byte) eventstore.Message {
	return eventstore.Message{Key: eventstore.Key{User: "ada", Session: "s1"}, Seq: 2, Prev: 1, Guarded: true, Body: body}
}

// golden compares with a file under testdata, or writes it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	path = filepath.Join("testdata", path)
	if os.Getenv(envUpdate) != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has\n%s\nand this program makes\n%s", path, want, got)
	}
}

// TestSamples reads the frozen sample of every event shape, compares it with
// what is written now, and folds it into the same state as ever.
func TestSamples(t *testing.T) {
	folded := map[domain.EventType]*domain.Session{}
	for _, typ := range domain.EventTypes() {
		commit := sample(typ)
		body, err := eventstore.Codec{}.Encode(commit)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("events", string(typ)+".v1.json")
		golden(t, file, body)
		frozen, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := eventstore.Codec{}.Decode(stored(frozen))
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		if !reflect.DeepEqual(got.Commit, commit) {
			t.Errorf("%s reads as\n%+v\nnot as\n%+v", typ, got.Commit, commit)
		}
		folded[typ] = domain.Apply(born(), got.Commit)
	}
	raw, err := json.MarshalIndent(folded, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "folded.json", append(raw, '\n'))
}

// born is a session that the samples apply to.
func born() *domain.Session {
	birth := sample(domain.TypeSessionCreated)
	birth.Version = 1
	return domain.Apply(domain.New("ada", "s1"), birth)
}

// TestSamplesAreAll finds samples of types that no longer exist.
func TestSamplesAreAll(t *testing.T) {
	files, err := filepath.Glob("testdata/events/*.json")
	if err != nil || len(files) != len(domain.EventTypes()) {
		t.Errorf("there are %d samples for %d types of events (%v)", len(files), len(domain.EventTypes()), err)
	}
}

// TestFrozenHistory folds a history as it was written once.
func TestFrozenHistory(t *testing.T) {
	ctx := t.Context()
	driver := eventstore.NewMemory()
	s := open(t, eventstore.Config{Driver: driver})
	agg, err := s.Load(ctx, eventstore.Key{User: "ada", Session: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range script() {
		if agg, err = s.Append(ctx, propose(t, agg, "c-"+string(c.Verb()), c)); err != nil {
			t.Fatal(err)
		}
	}
	var lines bytes.Buffer
	err = s.Raw(ctx, eventstore.Filter{}, func(m eventstore.Message) error {
		lines.Write(append(m.Body, '\n'))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "history/session.jsonl", lines.Bytes())

	frozen, err := os.ReadFile("testdata/history/session.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	state, err := json.MarshalIndent(refold(t, frozen).Session, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "history/session.state.json", append(state, '\n'))
}

// refold stores bodies line by line and loads the session.
func refold(t *testing.T, lines []byte) eventstore.Aggregate {
	t.Helper()
	key := eventstore.Key{User: "ada", Session: "s1"}
	driver := eventstore.NewMemory()
	last := uint64(0)
	for line := range bytes.Lines(lines) {
		seqs, err := driver.Append(t.Context(), []eventstore.Record{{Key: key, Guard: eventstore.ExpectLast(last), Body: bytes.TrimSpace(line)}})
		if err != nil {
			t.Fatal(err)
		}
		last = seqs[0]
	}
	agg, err := open(t, eventstore.Config{Driver: driver}).Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return agg
}

// script is a session with most of what can happen to one.
func script() []domain.Command {
	no := false
	manual := func(id string) domain.StepDef { return domain.StepDef{ID: id, Manual: true} }
	return []domain.Command{
		&domain.Create{Definition: domain.Definition{
			Metadata: map[string]string{"team": "blue <&>"}, Timeout: domain.Duration(time.Hour), KeepOpen: true,
			Chains: []domain.ChainDef{{ID: "build", Title: "Build", Steps: []domain.StepDef{
				{ID: "compile", Action: "compile", Input: []byte(`{"go":"1.26"}`)}, manual("approve"), manual("ship"),
			}}},
		}},
		&domain.Start{},
		&domain.Claim{Chain: "build", Step: "compile", Worker: "amber", Action: "compile", Lease: domain.Duration(time.Minute)},
		&domain.Succeed{Chain: "build", Step: "compile", Attempt: 1, Worker: "amber", Action: "compile", Output: []byte(`{"ok":true}`)},
		&domain.SetMetadata{Set: map[string]string{"note": "half way"}},
		&domain.FailManual{Chain: "build", Step: "approve", Error: domain.ReportError{Code: "refused", Message: "not like this", Retryable: &no}},
		&domain.RetryStep{Chain: "build", Step: "approve", Reason: "asked again"},
		&domain.Pause{Reason: "lunch"},
		&domain.Resume{},
		&domain.SkipStep{Chain: "build", Step: "approve", Reason: "trust"},
		&domain.AddChain{ChainDef: domain.ChainDef{ID: "after", Open: true, WaitsFor: []string{"build"}}},
		&domain.AddStep{Chain: "after", Step: manual("tidy")},
		&domain.SucceedManual{Chain: "build", Step: "ship", Output: []byte(`"done"`)},
		&domain.CloseChain{Chain: "after"},
		&domain.Cancel{Reason: "enough"},
	}
}
