package domain

// maxValueDepth bounds how deep valueEnd looks; what is deeper is left to
// encoding/json.
const maxValueDepth = 64

// valueEnd returns where the JSON value at the beginning of raw ends, if that
// value is valid and has no white space outside of its strings; else 0.
func valueEnd(raw []byte) int {
	v := valueReader{raw: raw}
	if !v.value(0) {
		return 0
	}
	return v.at
}

// valueReader steps over one JSON value.
type valueReader struct {
	raw []byte
	at  int
}

// peek returns the next byte, 0 at the end.
func (v *valueReader) peek() byte {
	if v.at < len(v.raw) {
		return v.raw[v.at]
	}
	return 0
}

func (v *valueReader) take(c byte) bool {
	if v.peek() != c {
		return false
	}
	v.at++
	return true
}

func (v *valueReader) value(depth int) bool {
	switch v.peek() {
	case '"':
		return v.text()
	case '{':
		return depth < maxValueDepth && v.list('}', func() bool { return v.text() && v.take(':') && v.value(depth+1) })
	case '[':
		return depth < maxValueDepth && v.list(']', func() bool { return v.value(depth + 1) })
	case 't':
		return v.word("true")
	case 'f':
		return v.word("false")
	case 'n':
		return v.word("null")
	}
	return v.number()
}

// list steps over an object or an array, whose elements the function reads.
func (v *valueReader) list(end byte, element func() bool) bool {
	v.at++
	if v.take(end) {
		return true
	}
	for element() {
		if v.take(end) {
			return true
		}
		if !v.take(',') {
			return false
		}
	}
	return false
}

func (v *valueReader) word(word string) bool {
	if len(v.raw)-v.at < len(word) || string(v.raw[v.at:v.at+len(word)]) != word {
		return false
	}
	v.at += len(word)
	return true
}

// text steps over a string. Bytes that are not UTF-8 pass, as they do in a
// json.RawMessage.
func (v *valueReader) text() bool {
	if !v.take('"') {
		return false
	}
	for v.at < len(v.raw) {
		c := v.raw[v.at]
		v.at++
		switch {
		case c == '"':
			return true
		case c < ' ':
			return false
		case c == '\\' && !v.escape():
			return false
		}
	}
	return false
}

// escape steps over what follows a backslash.
func (v *valueReader) escape() bool {
	c := v.peek()
	v.at++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if !hexDigit(v.peek()) {
				return false
			}
			v.at++
		}
		return true
	}
	return false
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// number steps over a number: a sign, digits without a leading zero, a fraction
// and an exponent.
func (v *valueReader) number() bool {
	v.take('-')
	if !v.take('0') && !v.digits() {
		return false
	}
	if v.take('.') && !v.digits() {
		return false
	}
	if v.take('e') || v.take('E') {
		if !v.take('+') {
			v.take('-')
		}
		return v.digits()
	}
	return true
}

// digits steps over at least one digit.
func (v *valueReader) digits() bool {
	begin := v.at
	for c := v.peek(); c >= '0' && c <= '9'; c = v.peek() {
		v.at++
	}
	return v.at > begin
}

// Words of eight equal bytes, for plainText.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainText reports whether text stands in JSON as it is: ASCII without control
// characters, quotes and backslashes. It looks at eight bytes at a time.
func plainText[T string | []byte](text T) bool {
	for len(text) >= 8 {
		w := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
		quote, slash := w^ones*'"', w^ones*'\\'
		if (w|(w-ones*' ')|(quote-ones)|(slash-ones))&highs != 0 {
			return false
		}
		text = text[8:]
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x80 || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
