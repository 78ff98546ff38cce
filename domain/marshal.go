package domain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Marshal writes v as JSON the way everything stored is written: compact and
// without HTML escaping, so that sizes and digests are the same whoever writes.
func Marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Digest returns the SHA-256 of verb and body of a command in hex. White space
// between JSON tokens does not count, and an empty body and null are an empty
// object.
func Digest(verb Verb, body []byte) string {
	if small := compact(bytes.TrimSpace(body)); len(small) == 0 || string(small) == "null" {
		body = []byte("{}")
	}
	h := sha256.New()
	h.Write([]byte(verb))
	h.Write([]byte{0})
	h.Write(compact(body))
	return hex.EncodeToString(h.Sum(nil))
}

// sum returns the SHA-256 of raw in hex.
func sum(raw []byte) string {
	digest := sha256.Sum256(raw)
	return hex.EncodeToString(digest[:])
}

// compact drops white space between JSON tokens; what is not JSON is returned
// as it is.
func compact(raw []byte) []byte {
	var buf bytes.Buffer
	if json.Compact(&buf, raw) != nil {
		return raw
	}
	return buf.Bytes()
}
