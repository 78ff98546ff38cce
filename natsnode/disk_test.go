package natsnode

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
)

func TestDirectoryProblems(t *testing.T) {
	tests := map[string]struct {
		cause error
		want  string
	}{
		"full":       {syscall.ENOSPC, "disk is full"},
		"quota":      {syscall.EDQUOT, "disk is full"},
		"read-only":  {syscall.EROFS, "is read-only"},
		"permission": {fs.ErrPermission, "permission is denied"},
		"a file":     {syscall.ENOTDIR, "is a file"},
		"other":      {errors.New("strange"), "check the path"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := directoryProblem("/data", "write there", test.cause)
			wantSentence(t, err, "data directory /data: cannot write there", test.want)
			if !errors.Is(err, ErrDirectory) || !errors.Is(err, test.cause) {
				t.Errorf("%v hides its kind or its cause", err)
			}
		})
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{12: "12 bytes", 3 << 20: "3.0 MiB", 5 << 29: "2.5 GiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
}
