package natsnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// probeSize is what a probe writes: enough that no file system keeps it in its
// directory entry.
const probeSize = 64 << 10

// prepareDir makes sure that dir exists, can be written and has room.
func prepareDir(dir string, minFree int64) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return directoryProblem(dir, "make it", err)
	}
	return checkRoom(dir, minFree)
}

// checkRoom says in a sentence why dir can't be written now; nil if it can.
func checkRoom(dir string, minFree int64) error {
	if free, known := freeSpace(dir); known && free < minFree {
		return problemf(ErrDirectory, syscall.ENOSPC, "the disk with %s is full: %s are free and at least %s are needed; make room there, or use another directory",
			dir, bytesText(free), bytesText(minFree))
	}
	if err := probe(dir); err != nil {
		return directoryProblem(dir, "write there", err)
	}
	return nil
}

// probe writes a small file, syncs it and removes it.
func probe(dir string) error {
	file, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return err
	}
	_, err = file.Write(make([]byte, probeSize))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close(), os.Remove(file.Name()))
}

// directoryProblem is the sentence for a failed step with the data directory.
func directoryProblem(dir, step string, err error) error {
	hint := "check the path, or use another directory"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "its disk is full; make room there, or use another directory"
	case errors.Is(err, syscall.EROFS):
		hint = "its file system is read-only; make it writable, or use another directory"
	case errors.Is(err, fs.ErrPermission):
		hint = "permission is denied; give this user write permission there, or use another directory"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		hint = "a part of the path is a file; use another directory"
	}
	return problemf(ErrDirectory, err, "data directory %s: cannot %s: %s", dir, step, hint)
}

// bytesText writes a size for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}
