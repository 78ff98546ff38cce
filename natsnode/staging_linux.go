package natsnode

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// memoryRoot is the file system in memory that Linux has for every process.
const memoryRoot = "/dev/shm"

// memoryDir makes a directory in memory that only this user may look into.
func memoryDir() (string, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(memoryRoot, &stat); err != nil {
		return "", err
	}
	if int64(stat.Type) != unix.TMPFS_MAGIC { //nolint:unconvert // it has another type on 32 bits
		return "", errors.New(memoryRoot + " is not in memory")
	}
	if free, _ := freeSpace(memoryRoot); free < stagingLeast {
		return "", errors.New(memoryRoot + " is full")
	}
	return os.MkdirTemp(memoryRoot, stagingPrefix+"*")
}
