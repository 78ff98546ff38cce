//go:build !killpoints || !unix

package killpoint

// Pass does nothing.
func Pass(string) {}
