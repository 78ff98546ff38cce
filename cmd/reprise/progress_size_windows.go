package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// terminalSize returns the columns and lines of a console.
func terminalSize(out any) (width, height int, ok bool) {
	file, is := out.(*os.File)
	if !is {
		return 0, 0, false
	}
	var info windows.ConsoleScreenBufferInfo
	if windows.GetConsoleScreenBufferInfo(windows.Handle(file.Fd()), &info) != nil {
		return 0, 0, false
	}
	return int(info.Window.Right-info.Window.Left) + 1, int(info.Window.Bottom-info.Window.Top) + 1, true
}
