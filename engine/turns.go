package engine

// turns holds the jobs that may run and wait for another one to end. Senders take
// turns, so that nobody waits for all that somebody else has sent. The zero value
// is ready; it is not safe for concurrent use.
type turns struct {
	by map[string]*line
	// order has the senders who wait, the next one first.
	order fifo[*line]
	spare []*line
}

// line is what one sender waits for.
type line struct {
	sender string
	jobs   fifo[*job]
}

// push puts a job at the end of its sender's line.
func (t *turns) push(j *job) {
	l := t.by[j.sender]
	if l == nil {
		l = t.line(j.sender)
		t.order.push(l)
	}
	l.jobs.push(j)
}

// line makes the line of a sender who has none.
func (t *turns) line(sender string) *line {
	l := &line{}
	if n := len(t.spare); n > 0 {
		l, t.spare = t.spare[n-1], t.spare[:n-1]
	}
	if t.by == nil {
		t.by = map[string]*line{}
	}
	l.sender, t.by[sender] = sender, l
	return l
}

// pop takes the first job of the sender whose turn it is; nil if nobody waits.
func (t *turns) pop() *job {
	if t.order.len() == 0 {
		return nil
	}
	l := t.order.pop()
	j := l.jobs.pop()
	if l.jobs.len() > 0 {
		t.order.push(l)
		return j
	}
	delete(t.by, l.sender)
	if len(t.spare) < maxIdleWorkers {
		t.spare = append(t.spare, l)
	}
	return j
}

// fifo is a queue that uses its memory again. The zero value is ready.
type fifo[T any] struct {
	items []T
	// head is the place of the first item; what is before it was taken.
	head int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }

func (q *fifo[T]) push(item T) { q.items = append(q.items, item) }

// first returns the first item. There has to be one.
func (q *fifo[T]) first() T { return q.items[q.head] }

// pop takes the first item out. There has to be one.
func (q *fifo[T]) pop() T {
	var none T
	item := q.items[q.head]
	q.items[q.head] = none
	q.head++
	switch n := q.len(); {
	case n == 0:
		q.items, q.head = q.items[:0], 0
	case 2*q.head > cap(q.items):
		copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return item
}
