package sessionfile

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"reprise/domain"
)

// maxNodes bounds the nodes that are read, aliases followed: a small file can
// unfold to a huge one.
const maxNodes = 200_000

// maxDepth bounds how deep values are nested, so that an alias that holds
// itself ends.
const maxDepth = 100

// decoder walks a document and gathers problems instead of stopping.
type decoder struct {
	problems []Problem
	anchors  map[string]ast.Node
	// places remembers where each field stands, by path.
	places map[string]ast.Node
	nodes  int
	depth  int
}

// reader reads the value of one field.
type reader func(node ast.Node, path string)

func (d *decoder) reportf(node ast.Node, field, format string, args ...any) {
	if len(d.problems) >= maxProblems {
		return
	}
	p := Problem{Field: field, Message: fmt.Sprintf(format, args...)}
	if node != nil && node.GetToken() != nil && node.GetToken().Position != nil {
		p.Line, p.Column = node.GetToken().Position.Line, node.GetToken().Position.Column
	}
	d.problems = append(d.problems, p)
}

// nearest finds where a path stands, or the innermost part of it that does.
func (d *decoder) nearest(path string) ast.Node {
	for path != "" {
		if node, ok := d.places[path]; ok {
			return node
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return d.places[""]
}

// enter goes one level deeper; false, with a problem, if that is too deep. Each
// enter is followed by a leave.
func (d *decoder) enter(node ast.Node, path string) bool {
	if d.depth++; d.depth <= maxDepth {
		return true
	}
	d.reportf(node, path, "values are nested more than %d deep", maxDepth)
	return false
}

func (d *decoder) leave() { d.depth-- }

// resolve follows anchors, aliases and tags to the value itself; nil, with a
// problem, if there is none or too much has been read.
func (d *decoder) resolve(node ast.Node, path string) ast.Node {
	for {
		if d.nodes++; d.nodes > maxNodes {
			if d.nodes == maxNodes+1 {
				d.reportf(node, path, "the file unfolds to more than %d values", maxNodes)
			}
			return nil
		}
		switch n := node.(type) {
		case *ast.AnchorNode:
			node = n.Value
		case *ast.TagNode:
			node = n.Value
		case *ast.AliasNode:
			name := n.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok {
				d.reportf(n, path, "there is no anchor &%s", name)
				return nil
			}
			node = target
		default:
			return node
		}
	}
}

// object reads a mapping whose keys are all known.
func (d *decoder) object(node ast.Node, path string, fields map[string]reader) {
	if _, seen := d.places[path]; !seen {
		d.places[path] = node
	}
	for _, entry := range d.entries(node, path) {
		read, known := fields[entry.key]
		full := join(path, entry.key)
		if !known {
			d.reportf(entry.at, full, "unknown field%s", suggest(entry.key, fields))
			continue
		}
		d.places[full] = entry.at
		read(entry.value, full)
	}
}

type entry struct {
	key   string
	at    ast.Node
	value ast.Node
}

// entries lists what a mapping holds, merged mappings (<<) first, so that its
// own keys win.
func (d *decoder) entries(node ast.Node, path string) []entry {
	defer d.leave()
	if !d.enter(node, path) {
		return nil
	}
	value := d.resolve(node, path)
	if value == nil {
		return nil
	}
	m, ok := value.(ast.MapNode)
	if !ok {
		d.reportf(node, path, "wants fields (name: value), not %s", kind(value))
		return nil
	}
	var merged, own []entry
	for it := m.MapRange(); it.Next(); {
		switch key := it.Key().(type) {
		case *ast.MergeKeyNode:
			merged = append(merged, d.entries(it.Value(), path)...)
		default:
			own = append(own, entry{key: key.GetToken().Value, at: key, value: it.Value()})
		}
	}
	return append(merged, own...)
}

// list reads a sequence.
func (d *decoder) list(node ast.Node, path string, read reader) {
	value := d.resolve(node, path)
	if value == nil {
		return
	}
	items, ok := value.(*ast.SequenceNode)
	if !ok {
		d.reportf(node, path, "wants a list, not %s", kind(value))
		return
	}
	for i, item := range items.Values {
		full := path + "[" + strconv.Itoa(i) + "]"
		d.places[full] = item
		read(item, full)
	}
}

// text reads a string; numbers and booleans that were not quoted count as the
// text they were written as where loose is set (ids such as 1).
func (d *decoder) text(into *string, loose bool) reader {
	return func(node ast.Node, path string) {
		switch n := d.resolve(node, path).(type) {
		case nil:
		case *ast.StringNode:
			*into = n.Value
		case *ast.LiteralNode:
			*into = n.Value.Value
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			if !loose {
				d.reportf(node, path, "wants text, not %s; put it in quotes", kind(n))
				return
			}
			*into = n.GetToken().Value
		default:
			d.reportf(node, path, "wants text, not %s", kind(n))
		}
	}
}

func (d *decoder) boolean(into *bool) reader {
	return func(node ast.Node, path string) {
		switch n := d.resolve(node, path).(type) {
		case nil:
		case *ast.BoolNode:
			*into = n.Value
		default:
			d.reportf(node, path, "wants true or false, not %s", kind(n))
		}
	}
}

func (d *decoder) integer(into *int) reader {
	return func(node ast.Node, path string) {
		n := d.resolve(node, path)
		if n == nil {
			return
		}
		if i, ok := n.(*ast.IntegerNode); ok {
			if v, err := strconv.Atoi(fmt.Sprint(i.Value)); err == nil {
				*into = v
				return
			}
		}
		d.reportf(node, path, "wants a whole number, not %s", kind(n))
	}
}

func (d *decoder) number(into *float64) reader {
	return func(node ast.Node, path string) {
		n := d.resolve(node, path)
		if n == nil {
			return
		}
		v, err := strconv.ParseFloat(n.GetToken().Value, 64)
		if err != nil || isQuoted(n) {
			d.reportf(node, path, "wants a number, not %s", kind(n))
			return
		}
		*into = v
	}
}

func (d *decoder) duration(into *domain.Duration) reader {
	return func(node ast.Node, path string) {
		var text string
		before := len(d.problems)
		d.text(&text, true)(node, path)
		if len(d.problems) > before || d.nodes > maxNodes {
			return
		}
		parsed, err := domain.ParseDuration(text)
		if err != nil {
			d.reportf(node, path, "%v", err)
			return
		}
		*into = parsed
	}
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// kind names what a node is, for people.
func kind(node ast.Node) string {
	switch n := node.(type) {
	case ast.MapNode:
		return "fields"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return n.GetToken().Value
	default:
		return fmt.Sprintf("%.40q", node.GetToken().Value)
	}
}

// suggest names the known field that was most likely meant, else all of them.
func suggest(key string, fields map[string]reader) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if distance(strings.ToLower(key), strings.ToLower(name)) <= 2 {
			return "; did you mean " + name + "?"
		}
	}
	return "; known here are " + strings.Join(names, ", ")
}

// distance is the Levenshtein distance of two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
