package sessionfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"reprise/domain"
)

// MaxBytes bounds the size of a file.
const MaxBytes = 4 << 20

// maxBrackets bounds how many brackets are open at once.
const maxBrackets = 2000

// File is a session definition as it stands in a file.
type File struct {
	// ID is the session id the file asks for; empty if it leaves it open.
	ID string
	domain.Definition
}

// Open reads a file, or in for the name "-", and returns its content and the
// name to use in errors.
func Open(path string, in io.Reader) (name string, content []byte, err error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return path, nil, err
		}
		defer func() { _ = file.Close() }()
		name, in = path, file
	} else {
		name = "stdin"
	}
	content, err = io.ReadAll(io.LimitReader(in, MaxBytes+1))
	if err == nil && len(content) > MaxBytes {
		err = fmt.Errorf("%s: the file has more than %d bytes", name, MaxBytes)
	}
	return name, content, err
}

// Parse reads a session definition and checks it against the rules of the
// model. Any error is an *Error.
func Parse(name string, content []byte) (*File, error) {
	f := new(File)
	read := func(d *decoder, root ast.Node) {
		d.file(root, "", f)
		d.cycles(f)
	}
	err := parse(name, content, read, func() error {
		return check(&domain.Create{Definition: f.Definition})
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// ParseChain reads one chain. Its waits may name chains of the session it will
// be added to, so those are left to the engine. Any error is an *Error.
func ParseChain(name string, content []byte) (*domain.ChainDef, error) {
	c := new(domain.ChainDef)
	err := parse(name, content, func(d *decoder, root ast.Node) { d.chain(root, "", c) }, nil)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ParseStep reads one step. Any error is an *Error.
func ParseStep(name string, content []byte) (*domain.StepDef, error) {
	s := new(domain.StepDef)
	err := parse(name, content, func(d *decoder, root ast.Node) { d.step(root, "", s) }, nil)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// parse reads the document, decodes it and then asks the rules.
func parse(name string, content []byte, decode func(*decoder, ast.Node), rules func() error) error {
	root, anchors, problem := document(content)
	if problem != nil {
		return &Error{Name: name, Problems: []Problem{*problem}}
	}
	d := &decoder{anchors: anchors, places: map[string]ast.Node{}}
	decode(d, root)
	if len(d.problems) == 0 && rules != nil {
		d.reject(rules())
	}
	if len(d.problems) > 0 {
		return &Error{Name: name, Problems: d.problems}
	}
	return nil
}

// check asks the domain whether a session could be created like that.
func check(c domain.Command) error {
	env := domain.Env{Now: time.Now(), Actor: "check", CommandID: "check"}
	_, err := domain.Decide(domain.New("check", "check"), c, env)
	return err
}

// reject places the domain's rejection at the line of the field it is about.
func (d *decoder) reject(err error) {
	var r *domain.Rejection
	if !errors.As(err, &r) {
		return
	}
	field, message := r.Field, r.Message
	if field != "" && len(message) > len(field)+2 && message[:len(field)+2] == field+": " {
		message = message[len(field)+2:]
	}
	d.reportf(d.nearest(field), field, "%s", message)
}

// document parses one YAML or JSON document. The parser is not ours, so a
// panic in it becomes a problem as well.
func document(content []byte) (root ast.Node, anchors map[string]ast.Node, problem *Problem) {
	defer func() {
		if r := recover(); r != nil {
			problem = &Problem{Message: fmt.Sprintf("this can't be read as YAML or JSON: %v", r)}
		}
	}()
	if line := tooDeep(content); line > 0 {
		return nil, nil, &Problem{Line: line, Message: fmt.Sprintf("more than %d brackets are open here", maxBrackets)}
	}
	file, err := parser.ParseBytes(plain(content), 0)
	if err != nil {
		return nil, nil, syntax(err)
	}
	anchors = map[string]ast.Node{}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case root != nil:
			return nil, nil, &Problem{Line: doc.Body.GetToken().Position.Line, Message: "there is a second document; write one definition a file"}
		default:
			root = doc.Body
			ast.Walk(anchorFinder(anchors), root)
		}
	}
	if root == nil {
		return nil, nil, &Problem{Message: "the file is empty; write at least chains, or keepOpen: true"}
	}
	return root, anchors, nil
}

// tooDeep returns the line on which more than maxBrackets are open, or 0. The
// parser takes time and memory with the square of their number. Brackets in
// text count as well; there are rarely that many without their counterparts.
func tooDeep(content []byte) int {
	open, line := 0, 1
	for _, b := range content {
		switch b {
		case '[', '{':
			open++
		case ']', '}':
			open--
		case '\n':
			line++
		}
		if open > maxBrackets {
			return line
		}
	}
	return 0
}

// plain lets JSON be indented with tabs, which YAML refuses. Inside of JSON
// strings there are no tabs, so nothing else changes.
func plain(content []byte) []byte {
	json := false
	out := make([]byte, len(content))
	for i, b := range content {
		if b == '{' || b == '[' {
			json = true
		}
		if !json && b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			return content
		}
		if b == '\t' {
			b = ' '
		}
		out[i] = b
	}
	return out
}

func syntax(err error) *Problem {
	var e yaml.Error
	if !errors.As(err, &e) {
		return &Problem{Message: err.Error()}
	}
	p := &Problem{Message: e.GetMessage()}
	if t := e.GetToken(); t != nil && t.Position != nil {
		p.Line, p.Column = t.Position.Line, t.Position.Column
	}
	return p
}

// anchorFinder collects the anchors of a document by name.
type anchorFinder map[string]ast.Node

// Visit implements ast.Visitor.
func (f anchorFinder) Visit(node ast.Node) ast.Visitor {
	if a, ok := node.(*ast.AnchorNode); ok && a.Name != nil {
		f[a.Name.GetToken().Value] = a.Value
	}
	return f
}
