package storetest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"slices"

	"reprise/eventstore"
)

// lie changes the content of a block.
func (w *world) lie(packed []byte, change func(map[string]any)) []byte {
	w.Helper()
	r, err := gzip.NewReader(bytes.NewReader(packed))
	w.must(err)
	raw, err := io.ReadAll(r)
	w.must(err)
	var content map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	w.must(dec.Decode(&content))
	change(content)
	raw, err = json.Marshal(content)
	w.must(err)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err = z.Write(raw)
	w.must(err)
	w.must(z.Close())
	return out.Bytes()
}

// seqsOf returns the sequences of a block's content.
func seqsOf(content map[string]any) []any {
	list, _ := content["seqs"].([]any)
	return list
}

// stateOf returns the session in a block's content.
func stateOf(content map[string]any) map[string]any {
	state, _ := content["state"].(map[string]any)
	return state
}

// lies are what a block may say that is not so.
var lies = map[string]func(map[string]any){
	"of a newer schema":     func(c map[string]any) { c["schema"] = 99 },
	"of another number":     func(c map[string]any) { c["block"] = 77 },
	"of another user":       func(c map[string]any) { c["user"] = "eve" },
	"without sequences":     func(c map[string]any) { c["seqs"] = []any{} },
	"with too few":          func(c map[string]any) { c["seqs"] = seqsOf(c)[len(seqsOf(c))-3:] },
	"with gaps":             func(c map[string]any) { c["seqs"] = slices.Delete(seqsOf(c), 10, 40) },
	"not up to its end":     func(c map[string]any) { c["seqs"] = seqsOf(c)[:20] },
	"beyond the stream":     func(c map[string]any) { c["seqs"] = append(seqsOf(c), 1<<40) },
	"with the first of all": func(c map[string]any) { seqsOf(c)[0] = 1 },
	"with another hash":     func(c map[string]any) { c["hash"] = eventstore.Hash([]byte("x")) },
	"with no state":         func(c map[string]any) { c["state"] = nil },
	"with an older state":   func(c map[string]any) { stateOf(c)["version"] = 3 },
	"with an ended state":   func(c map[string]any) { stateOf(c)["state"] = "COMPLETED" },
	"with a foreign state":  func(c map[string]any) { stateOf(c)["id"] = "s2" },
}

func blocksThatLie(w *world) {
	after := w.long(w.store(eventstore.Config{}), key(1))
	want := w.answers(w.cold(), after, 3, 3)
	blocks := w.shelve(key(1))
	honest := maps.Clone(blocks.kept)
	try := func(what string, change func(packed []byte) []byte) {
		w.Helper()
		for name, packed := range honest {
			if blocks.kept[name] = change(packed); blocks.kept[name] == nil {
				delete(blocks.kept, name)
			}
		}
		w.sameAnswers("blocks "+what, w.answers(w.with(blocks), after, 3, 3), want)
	}
	try("that are missing", func([]byte) []byte { return nil })
	try("that are empty", func([]byte) []byte { return []byte{} })
	try("cut short", func(p []byte) []byte { return p[:len(p)/2] })
	try("with a flipped bit", func(p []byte) []byte {
		p = bytes.Clone(p)
		p[len(p)/2] ^= 4
		return p
	})
	for what, change := range lies {
		try(what, func(p []byte) []byte { return w.lie(p, change) })
	}
	w.long(w.store(eventstore.Config{}), key(2))
	others := w.shelve(key(2))
	for n := range uint64(len(honest)) {
		blocks.kept[shelfKey(key(1), n)] = w.lie(others.kept[shelfKey(key(2), n)], func(c map[string]any) {
			c["session"], stateOf(c)["id"] = "s1", "s1"
		})
	}
	w.sameAnswers("blocks of another history", w.answers(w.with(blocks), after, 3, 3), want)
}
