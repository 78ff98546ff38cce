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
	body = compact(bytes.TrimSpace(body))
	if len(body) == 0 || string(body) == "null" {
		body = []byte("{}")
	}
	hashed := make([]byte, 0, digestedBytes)
	hashed = append(append(append(hashed, verb...), 0), body...)
	return sum(hashed)
}

// digestedBytes is what most bodies take with their verb.
const digestedBytes = 256

// sum returns the SHA-256 of raw in hex.
func sum(raw []byte) string {
	digest := sha256.Sum256(raw)
	return hex.EncodeToString(digest[:])
}

// compact drops white space between JSON tokens; what is not JSON is returned
// as it is.
func compact(raw []byte) []byte {
	if len(raw) == 0 || valueEnd(raw) == len(raw) {
		return raw
	}
	buf := bytes.NewBuffer(make([]byte, 0, len(raw)))
	if json.Compact(buf, raw) != nil {
		return raw
	}
	return buf.Bytes()
}
