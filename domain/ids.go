package domain

// ValidID reports whether text is a legal session, chain, step or worker id or
// action name: 1 to MaxIDLength of A-Z a-z 0-9 _ and -.
func ValidID(text string) bool {
	if text == "" || len(text) > MaxIDLength {
		return false
	}
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// ValidCommandID reports whether text may name a command: 1 to
// MaxCommandIDLength printable ASCII characters without spaces.
func ValidCommandID(text string) bool {
	if text == "" || len(text) > MaxCommandIDLength {
		return false
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
