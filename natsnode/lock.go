package natsnode

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// LockFile is the file in a data directory that is locked by the process that
// writes there and says who it is.
const LockFile = "reprise.lock"

// The bounds of taking the lock: somebody who only asks whether it is held
// (ReadLock) may hold it for a moment.
const (
	lockPatience = 500 * time.Millisecond
	lockPause    = 10 * time.Millisecond
	maxLockFile  = 4096
)

// errLocked says that another process holds the lock.
var errLocked = errors.New("locked")

// Info says which process serves a data directory.
type Info struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// URL is where clients connect; empty if it listens nowhere, or doesn't yet.
	URL string `json:"url,omitempty"`
}

// dirLock is a held lock. It is not safe for concurrent use.
type dirLock struct {
	file *os.File
	info Info
}

// takeLock locks dir for this process. A directory in use gives an *InUseError.
func takeLock(dir string, now time.Time) (*dirLock, error) {
	path := filepath.Join(dir, LockFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, directoryProblem(dir, "open "+LockFile+" there", err)
	}
	if err := lockPatiently(file); err != nil {
		defer func() { _ = file.Close() }()
		if !errors.Is(err, errLocked) {
			return nil, directoryProblem(dir, "lock it", err)
		}
		return nil, &InUseError{Dir: dir, Holder: readInfo(file)}
	}
	lock := &dirLock{file: file, info: Info{PID: os.Getpid(), Started: now.UTC().Truncate(time.Second)}}
	if err := lock.write(); err != nil {
		return nil, errors.Join(directoryProblem(dir, "write "+LockFile+" there", err), lock.release())
	}
	return lock, nil
}

func lockPatiently(file *os.File) error {
	deadline := time.Now().Add(lockPatience)
	for {
		err := lockFile(file, true)
		if !errors.Is(err, errLocked) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(lockPause)
	}
}

// serve records where clients connect.
func (l *dirLock) serve(url string) error {
	l.info.URL = url
	return l.write()
}

func (l *dirLock) write() error {
	body, err := json.Marshal(l.info)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt(append(body, '\n'), 0)
	return err
}

// release removes what the file says and gives the lock up.
func (l *dirLock) release() error {
	return errors.Join(l.file.Truncate(0), l.file.Close())
}

// ReadLock says which process serves a data directory, and whether one does. A
// directory that isn't there, or that nobody has used, is not served. It is safe
// for concurrent use, also with a process that is just starting.
func ReadLock(dir string) (info Info, running bool, err error) {
	file, err := os.Open(filepath.Join(dir, LockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, false, nil
	}
	if err != nil {
		return Info{}, false, directoryProblem(dir, "read "+LockFile+" there", err)
	}
	defer func() { _ = file.Close() }()
	err = lockFile(file, false)
	if errors.Is(err, errLocked) {
		return readInfo(file), true, nil
	}
	if err != nil {
		return Info{}, false, directoryProblem(dir, "ask for its lock", err)
	}
	return Info{}, false, nil
}

// readInfo reads what the holder wrote; the zero Info if it has not yet.
func readInfo(file *os.File) Info {
	var info Info
	body, err := io.ReadAll(io.NewSectionReader(file, 0, maxLockFile))
	if err != nil || json.Unmarshal(body, &info) != nil {
		return Info{}
	}
	return info
}
