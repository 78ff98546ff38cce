package sessionfile

import (
	"fmt"
	"strings"
)

// maxProblems bounds how many problems of a file are told at once.
const maxProblems = 10

// Problem is one thing that is wrong with a file.
type Problem struct {
	// Line and Column count from 1; 0 means unknown.
	Line, Column int
	// Field is the path of the field, such as chains[0].steps[2].retry.
	Field   string
	Message string
}

// Error is everything that is wrong with one file.
type Error struct {
	// Name is the file's name, or "stdin".
	Name     string
	Problems []Problem
}

// Error writes a line for each problem: name:line:column: field: message.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, e.Name+place(p)+": "+label(p.Field)+p.Message)
	}
	return strings.Join(lines, "\n")
}

func place(p Problem) string {
	switch {
	case p.Line == 0:
		return ""
	case p.Column == 0:
		return fmt.Sprintf(":%d", p.Line)
	}
	return fmt.Sprintf(":%d:%d", p.Line, p.Column)
}

func label(field string) string {
	if field == "" {
		return ""
	}
	return field + ": "
}
