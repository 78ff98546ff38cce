package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"

	"reprise/domain"
	"reprise/internal/term"
)

// show writes a value as JSON or YAML if that was asked for, else calls table.
func (a *app) show(value any, table func(w io.Writer) error) error {
	if a.flags.format() == formatTable {
		return table(a.out)
	}
	return a.encode(value)
}

// encode writes one value as JSON or YAML.
func (a *app) encode(value any) error {
	raw, err := domain.Marshal(value)
	if err != nil {
		return err
	}
	if a.flags.format() == formatYAML {
		if raw, err = yaml.JSONToYAML(raw); err != nil {
			return fmt.Errorf("the answer can't be written as YAML: %w", err)
		}
		_, err = a.out.Write(raw)
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, raw, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, indented.String())
	return err
}

// line writes one value of a stream: a line of JSON, or a YAML document.
func (a *app) line(value any) error {
	if a.flags.format() == formatYAML {
		if _, err := io.WriteString(a.out, "---\n"); err != nil {
			return err
		}
		return a.encode(value)
	}
	raw, err := domain.Marshal(value)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, string(raw))
	return err
}

// clean makes text from a session fit one cell of a table.
func clean(text string) string { return term.OneLine(term.Safe(text)) }
