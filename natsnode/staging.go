package natsnode

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// How the server keeps the atomic batches of a stream until they are committed
// (nats-server 2.15), and where they go instead (ADR 0020).
const (
	streamsDir = "streams"
	batchesDir = "batches"
	// stagingPrefix begins the names of the directories in memory, stagingLeast is how much
	// has to be free for them, in bytes.
	stagingPrefix = "reprise-batches-"
	stagingLeast  = 32 << 20
)

// StageInMemory has the server keep the uncommitted atomic batches of a stream
// in memory instead of on disk, until Close. A batch then costs one sync, that of
// the stream, instead of six. It reports whether that is so: it is on an embedded
// server that syncs every write, where the system has a file system in memory.
// The stream has to be there. What a power cut takes is a batch that was being
// committed and never acknowledged, of which a part may be stored.
func (n *Node) StageInMemory(stream string) bool {
	if !n.SyncsAlways() {
		return false
	}
	dir, err := n.embedded.stage(stream)
	if err != nil {
		n.log.Debug("batches are staged on disk", "stream", stream, "reason", err)
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.embedded.staged = append(n.embedded.staged, dir)
	return true
}

// stagingDir is where a stream's batches are, and where they are instead.
type stagingDir struct{ link, target string }

// stage puts a link to a directory in memory where the stream's batches go. The
// server looks behind it as behind any directory; should it look elsewhere one
// day, batches are on disk again and nothing else changes.
func (e *embedded) stage(stream string) (stagingDir, error) {
	found, err := filepath.Glob(filepath.Join(e.dir, server.JetStreamStoreDir, "*", streamsDir, stream))
	if err != nil || len(found) != 1 {
		return stagingDir{}, errors.Join(err, errors.New("there is not one directory of the stream"))
	}
	link := filepath.Join(found[0], batchesDir)
	if err := clearStaging(link); err != nil {
		return stagingDir{}, err
	}
	target, err := memoryDir()
	if err != nil {
		return stagingDir{}, err
	}
	if err := os.Symlink(target, link); err != nil {
		return stagingDir{}, errors.Join(err, os.Remove(target))
	}
	return stagingDir{link, target}, nil
}

// clearStaging removes an empty directory of batches, or the link of a process
// that was killed, with what that staged: the server looked at it when it started.
func clearStaging(link string) error {
	if old, err := os.Readlink(link); err == nil {
		if !strings.HasPrefix(filepath.Base(old), stagingPrefix) {
			return errors.New("there is a link of somebody else")
		}
		_ = os.RemoveAll(old) // after a restart of the machine it is gone, or another user's
	}
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// unstage removes what stage made, after the server has stopped.
func (e *embedded) unstage() error {
	var errs []error
	for _, dir := range e.staged {
		if now, err := os.Readlink(dir.link); err == nil && now == dir.target {
			errs = append(errs, os.Remove(dir.link))
		}
		errs = append(errs, os.RemoveAll(dir.target))
	}
	return errors.Join(errs...)
}
