package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestThePictureIsWellFormed(t *testing.T) {
	r := &result{
		Time: time.Unix(0, 0).UTC(), Settings: "settings",
		Sessions: []sessionPoint{{N: 1000, rate: rate{PerSecond: 20_000, P99: time.Millisecond}}, {N: 1_000_000, rate: rate{PerSecond: 15_000, P99: 3 * time.Millisecond}}},
		Clients:  []clientPoint{{N: 1, rate: rate{PerSecond: 5000, P99: 200 * time.Microsecond}}},
	}
	picture := r.svg()
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, picture)
		}
	}
	for _, part := range []string{"1M", "20k", "not measured", "3ms"} {
		if !strings.Contains(picture, part) {
			t.Errorf("the picture doesn't show %q", part)
		}
	}
}

func TestAxesEndAboveTheirValues(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 1: 1, 1.1: 2, 3: 4, 5: 8, 9: 10, 21_000: 40_000, 0.3: 0.4} {
		if got := roundUp(v); got < want*0.999 || got > want*1.001 {
			t.Errorf("%g: %g, not %g", v, got, want)
		}
	}
}
