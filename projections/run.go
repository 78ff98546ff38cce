package projections

import (
	"slices"
	"sort"
)

const (
	// chunkRows bounds how many rows one insertion moves.
	chunkRows = 256
	// mergedRows is how many rows two neighbours hold at most to become one.
	mergedRows = chunkRows * 3 / 4
)

// stop is a row at its place in a run. The time stands beside the pointer, so
// that a search stays within a few lines of memory.
type stop struct {
	at  int64
	row *row
}

// before reports whether the stop comes before a time and an id.
func (s stop) before(at int64, id string) bool {
	return s.at < at || s.at == at && s.row.id < id
}

// run keeps rows in the order of a time and their ids, in chunks. What comes in
// order, as almost all does that is ordered by its last change, is appended.
// The zero value is empty.
type run struct {
	chunks [][]stop // none is empty
	rows   int
}

// spot is the place of a row in a run; it holds as long as the run is the same.
type spot struct{ chunk, index int }

// find returns the first spot that is not before a time and an id; it may be the
// end.
func (r *run) find(at int64, id string) spot {
	chunk := sort.Search(len(r.chunks), func(i int) bool {
		return !r.chunks[i][len(r.chunks[i])-1].before(at, id)
	})
	if chunk == len(r.chunks) {
		return spot{chunk, 0}
	}
	stops := r.chunks[chunk]
	return spot{chunk, sort.Search(len(stops), func(i int) bool { return !stops[i].before(at, id) })}
}

// at returns the row at a spot, nil at either end.
func (r *run) at(s spot) *row {
	if s.chunk < 0 || s.chunk >= len(r.chunks) {
		return nil
	}
	return r.chunks[s.chunk][s.index].row
}

func (r *run) next(s spot) spot {
	if s.index++; s.index < len(r.chunks[s.chunk]) {
		return s
	}
	return spot{s.chunk + 1, 0}
}

func (r *run) prev(s spot) spot {
	switch {
	case s.index > 0:
		return spot{s.chunk, s.index - 1}
	case s.chunk > 0:
		return spot{s.chunk - 1, len(r.chunks[s.chunk-1]) - 1}
	}
	return spot{chunk: -1}
}

// insert puts a row, which must not be there yet, at its place.
func (r *run) insert(at int64, row *row) {
	r.rows++
	added, s := stop{at, row}, r.find(at, row.id)
	if s.chunk == len(r.chunks) {
		r.push(added)
		return
	}
	stops := r.chunks[s.chunk]
	if len(stops) >= chunkRows {
		half := len(stops) / 2
		r.chunks = slices.Insert(r.chunks, s.chunk+1, slices.Clone(stops[half:]))
		clear(stops[half:])
		r.chunks[s.chunk] = stops[:half]
		if s.index > half {
			s = spot{s.chunk + 1, s.index - half}
		}
	}
	r.chunks[s.chunk] = slices.Insert(r.chunks[s.chunk], s.index, added)
}

// push puts a stop behind all others.
func (r *run) push(last stop) {
	end := len(r.chunks) - 1
	if end < 0 || len(r.chunks[end]) >= chunkRows {
		r.chunks = append(r.chunks, []stop{last})
		return
	}
	r.chunks[end] = append(r.chunks[end], last)
}

// remove takes a row out, which has to be there at that time.
func (r *run) remove(at int64, row *row) {
	s := r.find(at, row.id)
	if r.at(s) != row {
		panic("projections: a row is not where the index has put it")
	}
	r.rows--
	r.chunks[s.chunk] = slices.Delete(r.chunks[s.chunk], s.index, s.index+1)
	if len(r.chunks[s.chunk]) == 0 {
		r.chunks = slices.Delete(r.chunks, s.chunk, s.chunk+1)
		return
	}
	if s.chunk > 0 {
		r.merge(s.chunk - 1)
	} else {
		r.merge(s.chunk)
	}
}

// merge makes one chunk of two neighbours that hold few rows.
func (r *run) merge(first int) {
	if first+1 >= len(r.chunks) || len(r.chunks[first])+len(r.chunks[first+1]) > mergedRows {
		return
	}
	r.chunks[first] = append(r.chunks[first], r.chunks[first+1]...)
	r.chunks = slices.Delete(r.chunks, first+1, first+2)
}
