package eventstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"reprise/domain"
	"reprise/eventstore"
)

// plainEncode writes a commit by encoding/json alone.
func plainEncode(t *testing.T, c *domain.Commit) string {
	t.Helper()
	type event struct {
		Type domain.EventType `json:"type"`
		V    int              `json:"v,omitempty"`
		Data domain.Event     `json:"data"`
	}
	events := []event{}
	for _, e := range c.Events {
		events = append(events, event{Type: e.Type(), Data: e})
	}
	body, err := domain.Marshal(struct {
		V       int             `json:"v"`
		Commit  string          `json:"commit"`
		Session string          `json:"session"`
		User    string          `json:"user"`
		Version uint64          `json:"version"`
		Time    time.Time       `json:"time"`
		Actor   string          `json:"actor"`
		Cause   domain.Verb     `json:"cause"`
		State   domain.State    `json:"state"`
		Digest  string          `json:"digest"`
		Prev    string          `json:"prev"`
		Queue   uint64          `json:"queue,omitempty"`
		Results []domain.Result `json:"results,omitempty"`
		Events  []event         `json:"events"`
	}{domain.CommitVersion, c.ID, c.Session, c.User, c.Version, c.Time, c.Actor, c.Cause, c.State, c.Digest, c.Prev, c.Queue, c.Results, events})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestEncodeIsPlainJSON(t *testing.T) {
	commits := []*domain.Commit{usual()}
	for _, typ := range domain.EventTypes() {
		commits = append(commits, sample(typ))
	}
	for _, text := range []string{`quo"ted`, `back\slash`, "tab\there", "Ω", "<&>", "\u2028", "", "bad\xffutf8"} {
		c := usual()
		c.ID, c.Actor, c.User = "c"+text, text, "u"+text
		commits = append(commits, c)
	}
	for _, c := range commits {
		body, err := eventstore.Codec{}.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if want := plainEncode(t, c); string(body) != want {
			t.Errorf("the codec writes\n%s\nand encoding/json\n%s", body, want)
		}
	}
}

func TestEncodeRefusesWhatIsNotJSON(t *testing.T) {
	c := usual()
	c.Events = []domain.Event{&domain.StepSucceeded{Output: json.RawMessage(`{"half`)}}
	if _, err := (eventstore.Codec{}).Encode(c); err == nil {
		t.Error("an output that is not JSON is encoded")
	}
	if _, err := (eventstore.Codec{}).Encode(usual()); err != nil {
		t.Errorf("the next commit: %v", err)
	}
}

func TestDecodeReadsWhatEncodeWrote(t *testing.T) {
	for _, text := range []string{"plain", `quo"ted`, "Ω", "tab\there"} {
		c := usual()
		c.Actor, c.Time = text, epoch
		body, err := eventstore.Codec{}.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		m := stored(body)
		m.Key.Session = c.Session
		got, err := eventstore.Codec{}.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Commit, c) || got.Hash != eventstore.Hash(body) || got.Seq != m.Seq || got.Prev != m.Prev || got.Key != m.Key {
			t.Errorf("%q reads as %+v", text, got)
		}
	}
}

// TestDecodeOtherForms reads commits that are legal but not in the form that
// Encode writes: another order of fields, white space.
func TestDecodeOtherForms(t *testing.T) {
	body := `{"events":[{"data": {} ,"type":"session.started"}], "time":"2026-03-01T12:00:00Z","v":1,"version":2,"commit":"c","session":"s1","user":"ada"}`
	got, err := eventstore.Codec{}.Decode(stored([]byte(body)))
	if err != nil || got.Commit.Version != 2 || len(got.Commit.Events) != 1 {
		t.Fatal(got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	const head = `{"v":1,"commit":"c","session":"s1","user":"ada","version":2,"time":"2026-03-01T12:00:00Z","actor":"","cause":"","state":"","digest":"","prev":"",`
	good := head + `"events":[{"type":"session.started","data":{}}]}`
	if _, err := (eventstore.Codec{}).Decode(stored([]byte(good))); err != nil {
		t.Fatal(err)
	}
	for body, kind := range map[string]string{
		strings.Replace(good, `"v":1`, `"v":0`, 1):                                eventstore.KindBytes,
		strings.Replace(good, `"v":1`, `"v":-1`, 1):                               eventstore.KindVersion,
		strings.Replace(good, `"v":1`, `"v":7`, 1):                                eventstore.KindVersion,
		strings.Replace(good, `"version":2`, `"version":0`, 1):                    eventstore.KindBytes,
		strings.Replace(good, `"version":2`, `"version":-2`, 1):                   eventstore.KindBytes,
		strings.Replace(good, `"version":2`, `"version":02`, 1):                   eventstore.KindBytes,
		strings.Replace(good, `"version":2`, `"version":18446744073709551616`, 1): eventstore.KindBytes,
		strings.Replace(good, `"commit":"c"`, `"commit":""`, 1):                   eventstore.KindBytes,
		strings.Replace(good, `2026-03-01`, `2026-13-01`, 1):                      eventstore.KindBytes,
		strings.Replace(good, `"s1"`, `"s2"`, 1):                                  eventstore.KindBytes,
		strings.Replace(good, `{}`, `{"a":[}]`, 1):                                eventstore.KindBytes,
		strings.Replace(good, `{}`, `null`, 1):                                    eventstore.KindBytes,
		strings.Replace(good, `{}`, `[]`, 1):                                      eventstore.KindBytes,
		strings.Replace(good, `"data":{}`, `"v":0,"data":{"x":1}`, 1):             eventstore.KindBytes,
		strings.Replace(good, `"data":{}`, `"v":2,"data":{}`, 1):                  eventstore.KindVersion,
		strings.Replace(good, `"data":{}`, `"v":99999999999,"data":{}`, 1):        eventstore.KindVersion,
		strings.Replace(good, `"data":{}`, `"v":-1,"data":{}`, 1):                 eventstore.KindVersion,
		strings.Replace(good, `session.started`, `session.Started`, 1):            eventstore.KindEventType,
		strings.Replace(good, `"events":[`, `"queue":"x","events":[`, 1):          eventstore.KindBytes,
		strings.Replace(good, `}]}`, `}],"more":1}`, 1):                           eventstore.KindBytes,
		good + good:        eventstore.KindBytes,
		good[:len(good)-1]: eventstore.KindBytes,
		strings.Replace(good, `"data":{}`, `"data":{}`+strings.Repeat(" ", 3)+`,"y":1`, 1): eventstore.KindBytes,
	} {
		_, err := eventstore.Codec{}.Decode(stored([]byte(body)))
		var damaged *eventstore.CommitError
		if !errors.As(err, &damaged) || damaged.Kind != kind || !errors.Is(err, eventstore.ErrCorrupt) {
			t.Errorf("%s\ngives %v and should give %q", body, err, kind)
		}
	}
	foreign := stored([]byte(good))
	foreign.Guarded = false
	var damaged *eventstore.CommitError
	if _, err := (eventstore.Codec{}).Decode(foreign); !errors.As(err, &damaged) || damaged.Kind != eventstore.KindForeign {
		t.Errorf("a message without a guard gives %v", err)
	}
}

// TestUpcast reads a shape of an event that is two versions old. The shapes are
// of this test alone: metadata.set once had key and value, then a list.
func TestUpcast(t *testing.T) {
	codec := eventstore.Codec{Upcasts: eventstore.Upcasts{domain.TypeMetadataSet: {
		func(data json.RawMessage) (json.RawMessage, error) {
			var old struct{ Key, Value string }
			if err := json.Unmarshal(data, &old); err != nil {
				return nil, err
			}
			return domain.Marshal(map[string]any{"entries": [][2]string{{old.Key, old.Value}}})
		},
		func(data json.RawMessage) (json.RawMessage, error) {
			var old struct{ Entries [][2]string }
			if err := json.Unmarshal(data, &old); err != nil {
				return nil, err
			}
			next := domain.MetadataSet{Set: map[string]string{}}
			for _, e := range old.Entries {
				next.Set[e[0]] = e[1]
			}
			return domain.Marshal(next)
		},
	}}}
	now := sample(domain.TypeMetadataSet)
	now.Events = []domain.Event{&domain.MetadataSet{Set: map[string]string{"team": "blue"}}}
	body, err := codec.Encode(now)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(body), `{"type":"metadata.set","v":3,"data":`) {
		t.Errorf("version 3 is written as %s", body)
	}
	for version, data := range []string{`{"key":"team","value":"blue"}`, `{"entries":[["team","blue"]]}`, `{"set":{"team":"blue"}}`} {
		old := strings.Replace(string(body), `"v":3,"data":{"set":{"team":"blue"}}`, fmt.Sprintf(`"v":%d,"data":%s`, version+1, data), 1)
		got, err := codec.Decode(stored([]byte(old)))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Commit.Events, now.Events) {
			t.Errorf("version %d reads as %+v", version+1, got.Commit.Events[0])
		}
	}
	unnamed := strings.Replace(string(body), `"v":3,"data":{"set":{"team":"blue"}}`, `"data":{"key":1}`, 1)
	var damaged *eventstore.CommitError
	if _, err := codec.Decode(stored([]byte(unnamed))); !errors.As(err, &damaged) || damaged.Kind != eventstore.KindBytes || damaged.Unwrap() == nil {
		t.Errorf("version 1 that can't be upcast gives %v", err)
	}
	if _, err := (eventstore.Codec{}).Decode(stored(body)); !errors.As(err, &damaged) || damaged.Kind != eventstore.KindVersion {
		t.Errorf("a program without the upcast gives %v", err)
	}
}

// FuzzDecode reads hostile bytes: it must not panic, and what it accepts must
// survive being written and read again.
func FuzzDecode(f *testing.F) {
	for _, typ := range domain.EventTypes() {
		c := sample(typ)
		for _, results := range [][]domain.Result{c.Results, nil} {
			c.Results = results
			body, err := eventstore.Codec{}.Encode(c)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		first, err := eventstore.Codec{}.Decode(stored(body))
		if err != nil {
			if !errors.Is(err, eventstore.ErrCorrupt) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		domain.Apply(domain.New("ada", "s1"), first.Commit)
		again, err := eventstore.Codec{}.Encode(first.Commit)
		if err != nil {
			t.Fatalf("%s is read and can't be written: %v", body, err)
		}
		second, err := eventstore.Codec{}.Decode(stored(again))
		if err != nil {
			t.Fatalf("%s is written as %s, which can't be read: %v", body, again, err)
		}
		third, err := eventstore.Codec{}.Encode(second.Commit)
		if err != nil || string(third) != string(again) {
			t.Fatalf("%s is not stable: %s (%v)", again, third, err)
		}
	})
}
