package natsnode

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAdoptStreams(t *testing.T) {
	dir := t.TempDir()
	if err := AdoptStreams(dir, "A"); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
	n, err := StartEmbedded(Options{DataDir: dir, Listen: ListenNone})
	if err != nil {
		t.Fatal(err)
	}
	streams := filepath.Join(dir, "jetstream")
	if err := os.MkdirAll(filepath.Join(streams, localAccount, "streams"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := AdoptStreams(dir, "A"); !errors.Is(err, ErrInUse) {
		t.Errorf("a directory in use: %v", err)
	}
	closeNode(t, n)
	if err := AdoptStreams(dir, "A"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(streams, "A", "streams")); err != nil {
		t.Error(err)
	}
	if err := os.MkdirAll(filepath.Join(streams, localAccount), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := AdoptStreams(dir, "A"); !errors.Is(err, ErrDirectory) {
		t.Errorf("streams of both: %v", err)
	}
}

func TestAuthThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	for name, auth := range map[string]*Auth{
		"a damaged operator": {Operator: "nonsense", Dir: filepath.Join(dir, "a")},
		"nothing":            {},
	} {
		if n, err := StartEmbedded(Options{DataDir: filepath.Join(dir, "data"), Listen: ListenNone, Auth: auth}); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v, %v", name, n, err)
		}
	}
}

func TestCredsOfOthers(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "other.creds"), "no credentials")
	for _, file := range []string{filepath.Join(dir, "other.creds"), filepath.Join(dir, "none.creds"), ""} {
		getenv := func(name string) string { return map[string]string{"NATS_CREDS": file}[name] }
		if name := CredsName(Remote{Getenv: getenv}); name != "" || inboxOf(file) != nil {
			t.Errorf("%q is of %q", file, name)
		}
	}
	if name := CredsName(Remote{Context: "no-such-context", Getenv: func(string) string { return dir }}); name != "" {
		t.Errorf("a context that is not there is of %q", name)
	}
}
