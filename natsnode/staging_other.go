//go:build !linux

package natsnode

import "errors"

// memoryDir is for systems that have a file system in memory.
func memoryDir() (string, error) {
	return "", errors.New("this system has no file system in memory")
}
