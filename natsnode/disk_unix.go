//go:build linux || darwin

package natsnode

import "golang.org/x/sys/unix"

// freeSpace returns the bytes that this process may still write under dir, and
// whether the system says so.
func freeSpace(dir string) (int64, bool) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, false
	}
	return int64(stat.Bavail) * int64(stat.Bsize), true //nolint:unconvert // it has another type on darwin
}
