//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// postgresUser returns who PostgreSQL has to run as, if it can't be who runs
// this: the user postgres in root's place.
func postgresUser() (who syscall.Credential, other bool, err error) {
	if os.Geteuid() != 0 {
		return who, false, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return who, false, errRoot
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		return who, false, errRoot
	}
	return syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, true, nil
}

// canRunPostgres returns an error that says why there is nobody for it.
func canRunPostgres() error {
	_, _, err := postgresUser()
	return err
}

// asPostgres has cmd run as that user, who gets the data directory and may pass
// through the stage's.
func (s *stage) asPostgres(cmd *exec.Cmd) error {
	who, other, err := postgresUser()
	if err != nil || !other {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &who}
	if err := os.Chmod(s.dir, 0o711); err != nil { //nolint:gosec // others pass through, and see nothing
		return err
	}
	if err := os.Chown(s.data(), int(who.Uid), int(who.Gid)); err != nil {
		return fmt.Errorf("cannot give the data directory to PostgreSQL's user: %w", err)
	}
	return nil
}
