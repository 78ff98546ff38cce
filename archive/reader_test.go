package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reprise/contract"
	"reprise/domain"
	"reprise/eventstore"
)

// verify reads a file as it is.
func verify(ctx context.Context, file []byte) (Trailer, error) {
	in, err := Decompress(bytes.NewReader(file))
	if err != nil {
		return Trailer{}, err
	}
	defer func() { _ = in.Close() }()
	r, err := NewReader(in)
	if err != nil {
		return Trailer{}, err
	}
	return Verify(ctx, r, Visitor{})
}

// sample is an export of two sessions: lines 2 to 4 and an end, 6 and an end.
func sample(t testing.TB) []byte {
	w := newWorld(t)
	w.do(w.key("ann", 1), plan(9), &domain.Start{}, &domain.Pause{})
	w.do(w.key("b b", 2), plan(9))
	file, _ := w.export(ExportOptions{})
	return file
}

// TestDamageIsRefusedByLine damages a file in many ways. Where the sum must not
// give it away first, the trailer is made anew.
func TestDamageIsRefusedByLine(t *testing.T) {
	t.Parallel()
	file := sample(t)
	tests := map[string]struct {
		damage func(lines []string) []string
		want   string
	}{
		"empty":              {func([]string) []string { return nil }, "line 1: the file is empty"},
		"no header":          {drop(0), "line 1: this is no export of Reprise"},
		"another format":     {replace(0, FormatName, "other"), "line 1: this is no export"},
		"a newer format":     {replace(0, `"version":1`, `"version":2`), "line 1: the export has format version 2; this program reads up to 1"},
		"no trailer":         {drop(7), "line 8: the file ends here, without its trailer: it was cut after 2 whole sessions"},
		"cut in a line":      {func(l []string) []string { l[3] = l[3][:20]; return l[:4] }, "line 4: the commit can't be read: unexpected EOF"},
		"a line of nonsense": {replace(2, `{"type":"commit"`, `{"type":"comment"`), `line 3: it has to be a JSON object with the type commit, end or trailer, not "comment"`},
		"an unknown field":   {replace(2, `{"type":"commit"`, `{"type":"commit","more":1`), `line 3: the commit can't be read: json: unknown field "more"`},
		"a changed body":     {replace(2, `\"session.started`, `\"session.Started`), "line 3: session ann.s1, version 2: the body hashes to"},
		"a commit less":      {drop(2), "line 3: session ann.s1, version 3: version gap"},
		"an end less":        {drop(4), "line 5: session ann.s1 has no end before session =YiBi.s2 begins"},
		"the last end less":  {drop(6), "line 7: session =YiBi.s2 has no end before the trailer"},
		"an end alone":       {func(l []string) []string { return append(l[:5:5], l[4:]...) }, "line 6: the end of session \"ann.s1\" without a commit"},
		"another's end":      {replace(4, `"s1"`, `"s7"`), "line 5: the end of session \"ann.s7\" among the commits of ann.s1"},
		"a wrong count":      {replace(4, `"commits":3`, `"commits":4`), "line 5: session ann.s1 has 3 commits here, and its end says 4"},
		"a wrong version":    {replace(4, `"version":4`, `"version":5`), "line 5: session ann.s1 comes to version 4, and its end says 5"},
		"a wrong head":       {replace(4, `"head":"`, `"head":"0`), "line 5: session ann.s1: its last commit hashes to"},
		"a line's version":   {replace(2, `"version":2,"hash"`, `"version":5,"hash"`), "line 3: session ann.s1: the line says version 5, and the commit in it 2"},
		"no legal id":        {replace(1, `"session":"s1","version":1,"hash"`, `"session":"s 1","version":1,"hash"`), "line 2: user \"ann\" and session \"s 1\" are no legal ids"},
		"two bodies":         {replace(1, `"body":`, `"base64":"YQ==","body":`), "line 2: the commit has two bodies"},
		"another's commit":   {replace(1, `"user":"ann","session":"s1","version":1,"hash"`, `"user":"eve","session":"s1","version":1,"hash"`), "line 2: session eve.s1, version 1: bytes: the body names session"},
		"another count":      {replace(7, `"sessions":2`, `"sessions":3`), "line 8: the trailer says 3 sessions and 4 commits; there are 2 and 4"},
		"a changed header":   {replace(1, `"headers":{`, `"headers":{"ce-x":"1",`), "line 8: the lines before hash to"},
		"more after it":      {func(l []string) []string { return append(l, "\nx\n") }, "line 9: something follows the trailer"},
		"an unreadable end":  {replace(4, `"commits":3`, `"commits":"3"`), "line 5: the end of a session can't be read"},
		"a bad trailer":      {replace(7, `"commits":4`, `"commits":-4`), "line 8: the trailer can't be read"},
		"two objects":        {replace(6, "}\n", "}{}\n"), "line 7: the end of a session can't be read: something follows"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := test.damage(strings.SplitAfter(strings.TrimSuffix(string(file), "\n"), "\n"))
			_, err := verify(t.Context(), []byte(strings.Join(lines, "")))
			wantError(t, err, ErrDamaged, test.want)
		})
	}
}

func drop(n int) func([]string) []string {
	return func(lines []string) []string { return append(lines[:n:n], lines[n+1:]...) }
}

func replace(n int, old, text string) func([]string) []string {
	return func(lines []string) []string {
		if !strings.Contains(lines[n], old) {
			panic("line " + lines[n] + " has no " + old)
		}
		lines[n] = strings.Replace(lines[n], old, text, 1)
		return lines
	}
}

// TestEveryCutIsRefused cuts a file after every byte.
func TestEveryCutIsRefused(t *testing.T) {
	t.Parallel()
	file := sample(t)
	for n := range len(file) - 1 {
		_, err := verify(t.Context(), file[:n])
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(file), err)
		}
	}
	if _, err := verify(t.Context(), file[:len(file)-1]); err != nil {
		t.Errorf("without the last line break: %v", err)
	}
}

// TestFoldsAreVerified writes a commit whose hash is right and whose state is not.
func TestFoldsAreVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.key("ann", 1)
	w.do(key, plan(9), &domain.Start{})
	h, err := readHistory(t.Context(), w.store, key, 0)
	w.must(err)
	for name, test := range map[string]struct{ old, text, want string }{
		"another state":   {`"state":"RUNNING"`, `"state":"PAUSED"`, `line 3: session ann.s1, version 2: state: the commit says that the session is "PAUSED" after it; its events make it RUNNING`},
		"another past":    {`"prev":"`, `"prev":"0`, "line 3: session ann.s1, version 2: hash chain"},
		"another event":   {`session.started`, `session.startled`, "line 3: session ann.s1, version 2: unknown event type"},
		"another version": {`"version":2`, `"version":7`, "version gap"},
	} {
		var out bytes.Buffer
		writer, err := NewWriter(&out, Header{})
		w.must(err)
		w.must(writer.Commit(key, 1, h.commits[0].Original))
		body := strings.Replace(string(h.commits[1].Body), test.old, test.text, 1)
		w.must(writer.Commit(key, 2, eventstore.Original{Body: []byte(body)}))
		w.must(writer.End(2))
		_, err = writer.Close()
		w.must(err)
		_, err = verify(t.Context(), out.Bytes())
		if wantError(t, err, ErrDamaged, test.want); !errors.Is(err, eventstore.ErrCorrupt) {
			t.Errorf("%s: %v does not say that a commit can't be used", name, err)
		}
	}
}

// TestNothingFollowsATombstone writes a tombstone and a commit after it.
func TestNothingFollowsATombstone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.key("ann", 1)
	w.do(key, plan(9), &domain.Delete{})
	h, err := readHistory(t.Context(), w.store, key, 0)
	w.must(err)
	commit := &domain.Commit{
		ID: "x", Session: "s1", User: "ann", Version: h.agg.Session.Version + 1, Time: epoch, Prev: h.agg.Hash,
		State: domain.StateRunning, Events: []domain.Event{&domain.SessionStarted{}},
	}
	later, err := eventstore.Codec{}.Encode(commit)
	w.must(err)
	var out bytes.Buffer
	writer, err := NewWriter(&out, Header{})
	w.must(err)
	w.must(writer.Commit(key, h.commits[0].version, h.commits[0].Original))
	w.must(writer.Commit(key, commit.Version, eventstore.Original{Body: later}))
	w.must(writer.End(commit.Version))
	_, err = writer.Close()
	w.must(err)
	_, err = verify(t.Context(), out.Bytes())
	wantError(t, err, ErrDamaged, "line 3", "the history goes on after its tombstone")
}

func TestSessionsTwiceInAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.key("ann", 1)
	w.do(key, plan(9))
	h, err := readHistory(t.Context(), w.store, key, 0)
	w.must(err)
	var out bytes.Buffer
	writer, err := NewWriter(&out, Header{})
	w.must(err)
	for range 2 {
		w.must(writeHistory(t.Context(), w.store, writer, h))
	}
	_, err = writer.Close()
	w.must(err)
	_, err = newWorld(t).load(out.Bytes(), ImportOptions{})
	wantError(t, err, ErrDamaged, "line 4: session ann.s1 is in the file a second time")
}

func TestLinesHaveABound(t *testing.T) {
	t.Parallel()
	endless := io.MultiReader(strings.NewReader(`{"type":"header","format":"reprise-export","version":1}`+"\n"), zeros{})
	r, err := NewReader(endless)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Next()
	wantError(t, err, ErrDamaged, "line 2: it is longer than 33554432 bytes")
	if _, again := r.Next(); !errors.Is(again, ErrDamaged) {
		t.Errorf("again: %v", again)
	}
}

// zeros is a file without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestBodiesThatAreNoText(t *testing.T) {
	t.Parallel()
	key := eventstore.Key{User: "ann", Session: "s1"}
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{})
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("a\xffb\u2028<>")
	err = errors.Join(w.Commit(key, 1, eventstore.Original{Body: body, Header: map[string]string{
		"ce-id": "x", "Nats-Expected-Last-Subject-Sequence": "1", "Nats-Batch-Id": "b", contract.HeaderTypes: "t", "ce-": "", "ce-Bad": "x",
	}}), w.End(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	item, err := r.Next()
	if err != nil || !bytes.Equal(item.Commit.Body, body) {
		t.Fatalf("%+v, %v", item.Commit, err)
	}
	if raw := jsonOf(t, item.Commit.Header); raw != `{"Reprise-Types":"t","ce-id":"x"}` {
		t.Errorf("headers %s", raw)
	}
	if r.Line() != 2 || r.Header().Format != FormatName {
		t.Errorf("line %d, header %+v", r.Line(), r.Header())
	}
}

func TestWriterRefusesDisorder(t *testing.T) {
	t.Parallel()
	w, err := NewWriter(io.Discard, Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.End(1); err == nil {
		t.Error("an end without commits was written")
	}
	if err := w.Commit(eventstore.Key{User: "a", Session: "1"}, 1, eventstore.Original{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(eventstore.Key{User: "a", Session: "2"}, 1, eventstore.Original{}); err == nil {
		t.Error("two sessions were mixed")
	}
	if _, err := w.Close(); err == nil {
		t.Error("a session was left open")
	}
	broken := &Writer{err: io.ErrShortWrite}
	if err := broken.line(1); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("after an error: %v", err)
	}
}

func TestVerifyStopsWhenAsked(t *testing.T) {
	t.Parallel()
	file := sample(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := verify(ctx, file); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestFrozenExport: the first version of the format can be read for ever.
func TestFrozenExport(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "v1.jsonl")
	if os.Getenv("REPRISE_UPDATE") != "" {
		w := newWorld(t)
		w.populate(16)
		file, _ := w.export(ExportOptions{Filter: Filter{Tombstones: true, States: []domain.State{domain.StatePending, domain.StateFailed, domain.StatePaused}}})
		w.must(os.MkdirAll("testdata", 0o750))
		w.must(os.WriteFile(path, file, 0o600))
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	report, err := w.load(file, ImportOptions{})
	if err != nil || report.New != 10 {
		t.Fatalf("%+v, %v", report, err)
	}
	if agg := w.do(w.key("ann", 0)); agg.Session.State != domain.StatePending {
		t.Errorf("session s0 is %s", agg.Session.State)
	}
}

// TestExampleInTheDocumentation: the example is a real export.
func TestExampleInTheDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "docs", "export-format.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```jsonl\n")
	example, _, _ := strings.Cut(rest, "```")
	if trailer, err := verify(t.Context(), []byte(example)); err != nil || trailer.Commits != 2 {
		t.Errorf("%+v, %v", trailer, err)
	}
}

// FuzzReader: a hostile file never panics and is either whole or refused by line.
func FuzzReader(f *testing.F) {
	file := sample(f)
	f.Add(file)
	lines := bytes.SplitAfter(file, []byte("\n"))
	f.Add(bytes.Join(lines[:3], nil))
	f.Add(bytes.Join(lines[1:], nil))
	f.Add([]byte(`{"type":"header","format":"reprise-export","version":1}` + "\n" + `{"type":"commit"}`))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0})
	f.Fuzz(func(t *testing.T, file []byte) {
		_, err := verify(t.Context(), file)
		var damaged *DamageError
		if err != nil && (!errors.As(err, &damaged) || damaged.Line == 0 || damaged.Reason == "") {
			t.Fatalf("%v", err)
		}
	})
}

// FuzzCommit: a body that was made up never panics, whatever its hash is.
func FuzzCommit(f *testing.F) {
	w := newWorld(f)
	w.populate(8)
	for _, user := range []string{"ann", "bob@example.org"} {
		for n := range 8 {
			_ = w.store.History(f.Context(), w.key(user, n), 0, func(m eventstore.Message) error {
				f.Add(m.Body)
				return nil
			})
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var named struct{ User, Session string }
		_ = json.Unmarshal(body, &named)
		var out bytes.Buffer
		writer, err := NewWriter(&out, Header{})
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(writer.Commit(eventstore.Key{User: named.User, Session: named.Session}, 1, eventstore.Original{Body: body}), writer.End(1))
		if _, closed := writer.Close(); err != nil || closed != nil {
			t.Fatal(err, closed)
		}
		if _, err := verify(t.Context(), out.Bytes()); err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}
