package actions

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
)

// capture keeps the beginning and the end of what is written to it, in bounded
// memory, and counts all of it. It is safe for concurrent use.
type capture struct {
	// headMax and tailMax are how many bytes are kept.
	headMax, tailMax int

	mu    sync.Mutex
	head  []byte
	tail  []byte
	total int64
}

// Write never fails.
func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	c.total += int64(n)
	room := min(c.headMax-len(c.head), len(p))
	c.head = append(c.head, p[:room]...)
	if p = p[room:]; len(p) > c.tailMax {
		p = p[len(p)-c.tailMax:]
	}
	if len(c.tail)+len(p) > 2*c.tailMax {
		keep := c.tailMax - len(p)
		c.tail = append(c.tail[:0], c.tail[len(c.tail)-keep:]...)
	}
	c.tail = append(c.tail, p...)
	return n, nil
}

// kept is what a capture holds at one moment.
type kept struct {
	head, tail []byte
	total      int64
}

func (c *capture) kept() kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	tail := c.tail[max(0, len(c.tail)-c.tailMax):]
	return kept{slices.Clone(c.head), slices.Clone(tail), c.total}
}

// whole reports whether nothing is missing between head and tail.
func (k kept) whole() bool { return int64(len(k.head)+len(k.tail)) == k.total }

// joined is what is kept, without the gap.
func (k kept) joined() []byte { return slices.Concat(k.head, k.tail) }

// within returns the same in at most limit bytes, half of them from the end.
func (k kept) within(limit int) kept {
	if len(k.head)+len(k.tail) <= limit {
		return k
	}
	if k.whole() {
		all := k.joined()
		return kept{all[:limit/2], all[len(all)-limit/2:], k.total}
	}
	head := min(len(k.head), limit/2)
	return kept{k.head[:head], k.tail[max(0, len(k.tail)-(limit-head)):], k.total}
}

// String says where something was left out.
func (k kept) String() string {
	if k.whole() {
		return text(k.joined())
	}
	gap := fmt.Sprintf("\n... %d bytes left out ...\n", k.total-int64(len(k.head)+len(k.tail)))
	if len(k.head) == 0 {
		gap = gap[1:]
	}
	return text(k.head) + gap + text(k.tail)
}

// lastLine returns the last line that is not empty.
func (k kept) lastLine() string {
	all := bytes.TrimSpace(k.joined())
	return text(bytes.TrimSpace(all[bytes.LastIndexByte(all, '\n')+1:]))
}

// maxLine bounds a line of progress in bytes.
const maxLine = 512

// lines passes on the last line of each piece of an output.
type lines struct {
	show  func(string)
	carry []byte
}

// Write never fails.
func (l *lines) Write(p []byte) (int, error) {
	end := bytes.LastIndexAny(p, "\n\r")
	if end < 0 {
		l.hold(p)
		return len(p), nil
	}
	full := p[:end]
	begin := bytes.LastIndexAny(bytes.TrimRight(full, "\r\n\t "), "\n\r") + 1
	if begin == 0 {
		full = append(l.carry, full...)
	}
	line := bytes.TrimSpace(full[begin:])
	if len(line) > 0 {
		l.show(text(line[:min(len(line), maxLine)]))
	}
	l.carry = l.carry[:0]
	l.hold(p[end+1:])
	return len(p), nil
}

// hold keeps the beginning of a line that is not complete.
func (l *lines) hold(p []byte) {
	l.carry = append(l.carry, p[:min(len(p), maxLine-len(l.carry))]...)
}
