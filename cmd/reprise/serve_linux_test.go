package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/internal/race"
)

// smallDisk mounts a file system of 48 MiB, or skips the test where that isn't
// permitted.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("this test needs a small file system and may not mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fillUp writes a file until the disk is full, and returns its path.
func fillUp(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return path
}

func TestServeSurvivesAFullDisk(t *testing.T) {
	if race.Enabled {
		t.Skip("nats-server 2.15.2 has a race of its own where JetStream is enabled again; make test runs this without the detector")
	}
	dir := smallDisk(t)
	s := startServing(t, nil, "--data", dir, "--listen", "127.0.0.1:0")
	nc, err := nats.Connect(s.url(), nats.Timeout(servePatience))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "T", Subjects: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	ballast := fillUp(t, dir)
	if err := publishOnce(t, js); err == nil {
		t.Fatal("the full disk took a message")
	}
	poll(t, "a line about the full disk", func() bool { return strings.Contains(s.err.String(), "is full") })
	answer, err := nc.Request("reprise.cmd.ann.full.create", []byte(`{"keepOpen":true}`), servePatience)
	if err != nil || answer.Header.Get(contract.HeaderErrorCode) != "503" || !strings.Contains(answer.Header.Get(contract.HeaderError), "is full") {
		t.Errorf("a command on a full disk: %v, %v", answer, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	poll(t, "a message to be stored again", func() bool { return publishOnce(t, js) == nil })
	poll(t, "a session to be created again", func() bool {
		answer, err := nc.Request("reprise.cmd.ann.after.create", []byte(`{"keepOpen":true}`), time.Second)
		return err == nil && answer.Header.Get(contract.HeaderErrorCode) == ""
	})
	if n := strings.Count(s.out.String(), "reprise is ready"); n != 1 {
		t.Errorf("it said %d times that it is ready", n)
	}
	if code := s.stop(t); code != exitOK {
		t.Errorf("exit code %d, %s", code, s.err.String())
	}
}

func publishOnce(t *testing.T, js jetstream.JetStream) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := js.Publish(ctx, "t", []byte("text"))
	return err
}
