package sessionfile

import (
	"encoding/json"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"reprise/domain"
)

func (d *decoder) file(node ast.Node, path string, f *File) {
	d.object(node, path, map[string]reader{
		"id": d.text(&f.ID, true),
		"chains": func(node ast.Node, path string) {
			f.Chains = nil
			d.list(node, path, func(node ast.Node, path string) {
				var c domain.ChainDef
				d.chain(node, path, &c)
				f.Chains = append(f.Chains, c)
			})
		},
		"metadata":  d.strings(&f.Metadata),
		"keepOpen":  d.boolean(&f.KeepOpen),
		"onFailure": d.text((*string)(&f.OnFailure), false),
		"timeout":   d.duration(&f.Timeout),
		"priority":  d.integer(&f.Priority),
	})
}

func (d *decoder) chain(node ast.Node, path string, c *domain.ChainDef) {
	d.object(node, path, map[string]reader{
		"id":       d.text(&c.ID, true),
		"title":    d.text(&c.Title, true),
		"open":     d.boolean(&c.Open),
		"waitsFor": d.ids(&c.WaitsFor),
		"steps": func(node ast.Node, path string) {
			c.Steps = nil
			d.list(node, path, func(node ast.Node, path string) {
				var s domain.StepDef
				d.step(node, path, &s)
				c.Steps = append(c.Steps, s)
			})
		},
	})
}

func (d *decoder) step(node ast.Node, path string, s *domain.StepDef) {
	d.object(node, path, map[string]reader{
		"id":     d.text(&s.ID, true),
		"title":  d.text(&s.Title, true),
		"action": d.text(&s.Action, true),
		"manual": d.boolean(&s.Manual),
		"input":  d.payload(&s.Input),
		"waitsFor": func(node ast.Node, path string) {
			waits := []string{}
			d.ids(&waits)(node, path)
			s.WaitsFor = &waits
		},
		"timeout": d.duration(&s.Timeout),
		"retry": func(node ast.Node, path string) {
			s.Retry = new(domain.RetryPolicy)
			d.retry(node, path, s.Retry)
		},
	})
}

func (d *decoder) retry(node ast.Node, path string, r *domain.RetryPolicy) {
	d.object(node, path, map[string]reader{
		"maxAttempts": d.integer(&r.MaxAttempts),
		"backoff":     d.duration(&r.Backoff),
		"maxBackoff":  d.duration(&r.MaxBackoff),
		"factor":      d.number(&r.Factor),
	})
}

// ids reads a list of ids.
func (d *decoder) ids(into *[]string) reader {
	return func(node ast.Node, path string) {
		*into = []string{}
		d.list(node, path, func(node ast.Node, path string) {
			var id string
			d.text(&id, true)(node, path)
			*into = append(*into, id)
		})
	}
}

// strings reads a mapping of free names to text.
func (d *decoder) strings(into *map[string]string) reader {
	return func(node ast.Node, path string) {
		*into = map[string]string{}
		for _, e := range d.entries(node, path) {
			var value string
			full := join(path, e.key)
			d.places[full] = e.at
			d.text(&value, true)(e.value, full)
			(*into)[e.key] = value
		}
	}
}

// payload reads any value as JSON.
func (d *decoder) payload(into *json.RawMessage) reader {
	return func(node ast.Node, path string) {
		before := len(d.problems)
		value := d.any(node, path)
		if len(d.problems) > before {
			return
		}
		raw, err := domain.Marshal(value)
		if err != nil {
			d.reportf(node, path, "can't be written as JSON: %v", err)
			return
		}
		*into = raw
	}
}

// any turns a node into what encoding/json writes.
func (d *decoder) any(node ast.Node, path string) any {
	defer d.leave()
	if !d.enter(node, path) {
		return nil
	}
	switch n := d.resolve(node, path).(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		return integer(n)
	case *ast.StringNode:
		return plainNumber(n)
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.SequenceNode:
		list := []any{}
		d.list(n, path, func(node ast.Node, path string) { list = append(list, d.any(node, path)) })
		return list
	case ast.MapNode:
		fields := map[string]any{}
		for _, e := range d.entries(node, path) {
			fields[e.key] = d.any(e.value, join(path, e.key))
		}
		return fields
	case *ast.FloatNode:
		return float(n)
	default:
		d.reportf(node, path, "%s has no place in JSON", kind(n))
		return nil
	}
}

// integer keeps a number as it was written where that is JSON, so that large
// ones lose nothing.
func integer(n *ast.IntegerNode) any {
	if text := n.GetToken().Value; json.Valid([]byte(text)) {
		return json.Number(text)
	}
	return n.Value
}

func float(n *ast.FloatNode) any {
	if text := n.GetToken().Value; json.Valid([]byte(text)) {
		return json.Number(text)
	}
	return n.Value
}

// plainNumber reads unquoted numbers that the YAML library takes for text, such
// as 1e3.
func plainNumber(n *ast.StringNode) any {
	if _, err := strconv.ParseFloat(n.Value, 64); err == nil && !isQuoted(n) && json.Valid([]byte(n.Value)) {
		return json.Number(n.Value)
	}
	return n.Value
}

func isQuoted(node ast.Node) bool {
	t := node.GetToken().Type
	return t == token.SingleQuoteType || t == token.DoubleQuoteType
}
