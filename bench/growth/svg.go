package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The sizes of the picture, in pixels.
const (
	panelWidth, panelHeight = 300, 190
	left, right, top, foot  = 64, 16, 34, 40
	picturePad              = 16
	headHeight              = 44
)

// series is one panel: how something depends on what grows.
type series struct {
	title string
	xs    []int
	ys    []float64
	show  func(float64) string
}

// svg draws throughput and the 99th percentile against everything that grows.
func (r *result) svg() string {
	columns := [][2]series{
		panels("sessions", r.Sessions, func(p sessionPoint) (int, rate) { return p.N, p.rate }),
		panels("length of history", r.History, func(p historyPoint) (int, rate) { return p.N, p.rate }),
		panels("clients", r.Clients, func(p clientPoint) (int, rate) { return p.N, p.rate }),
	}
	width, height := picturePad*2+len(columns)*panelWidth, headHeight+2*panelHeight+picturePad
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="22" font-size="14">Reprise under growth</text><text x="%d" y="38" fill="#555">%s, %d cores, %s, load average at the start %s</text>`+"\n",
		picturePad, picturePad, r.Time.Format(time.DateOnly), r.Cores, r.Settings, r.Load)
	for i, column := range columns {
		for j, s := range column {
			fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", picturePad+i*panelWidth, headHeight+j*panelHeight)
			s.draw(&b)
			b.WriteString("</g>\n")
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func panels[P any](of string, points []P, get func(P) (int, rate)) [2]series {
	through := series{title: "commands a second, by " + of, show: compact}
	slow := series{title: "99 % are faster than, by " + of, show: func(ms float64) string {
		return time.Duration(ms * float64(time.Millisecond)).Round(10 * time.Microsecond).String()
	}}
	for _, p := range points {
		n, r := get(p)
		through.xs, through.ys = append(through.xs, n), append(through.ys, r.PerSecond)
		slow.xs, slow.ys = append(slow.xs, n), append(slow.ys, r.P99.Seconds()*1000)
	}
	return [2]series{through, slow}
}

// compact writes a number with k or M.
func compact(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// draw draws a panel: a logarithmic axis to the right, a linear one from 0 upward.
func (s *series) draw(b *strings.Builder) {
	fmt.Fprintf(b, `<text x="%d" y="18" font-weight="bold">%s</text>`+"\n", left, s.title)
	if len(s.xs) == 0 {
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="#777">not measured</text>`+"\n", left, panelHeight/2)
		return
	}
	most := 0.0
	for _, y := range s.ys {
		most = math.Max(most, y)
	}
	most = roundUp(most)
	for i := range 5 {
		y := most * float64(i) / 4
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#555">%s</text>`+"\n",
			left, s.y(y, most), panelWidth-right, left-6, s.y(y, most)+4, s.show(y))
	}
	var line strings.Builder
	for i, x := range s.xs {
		fmt.Fprintf(&line, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[i == 0], s.x(i), s.y(s.ys[i], most))
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n", s.x(i), panelHeight-foot+16, compact(float64(x)))
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="#1f6feb" stroke-width="2"/>`+"\n", line.String())
	for i := range s.xs {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="#1f6feb"><title>%s: %s</title></circle>`+"\n", s.x(i), s.y(s.ys[i], most), compact(float64(s.xs[i])), s.show(s.ys[i]))
	}
}

// x is the place of a point on the axis to the right.
func (s *series) x(i int) float64 {
	first, last := math.Log(float64(s.xs[0])), math.Log(float64(s.xs[len(s.xs)-1]))
	if first == last {
		return (left + panelWidth - right) / 2
	}
	return left + (math.Log(float64(s.xs[i]))-first)/(last-first)*(panelWidth-left-right)
}

// y is the place of a value on the axis upward.
func (s *series) y(v, most float64) float64 {
	return panelHeight - foot - v/most*(panelHeight-top-foot)
}

// roundUp returns the next 1, 2, 4 or 8 times a power of ten.
func roundUp(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 4, 8} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}
