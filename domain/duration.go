package domain

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// Duration is a length of time that reads and writes as `<n>(ms|s|m|h|d)`, the
// form of every duration in Reprise. It has a resolution of one millisecond.
type Duration time.Duration

var durationUnits = []struct {
	suffix string
	size   time.Duration
}{
	{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

// ParseDuration reads `<n>(ms|s|m|h|d)`; n is a whole number of at most 15 digits.
func ParseDuration(text string) (Duration, error) {
	digits := 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		digits++
	}
	if digits > 0 && digits <= 15 {
		n, err := strconv.ParseInt(text[:digits], 10, 64)
		for _, u := range durationUnits {
			if err == nil && text[digits:] == u.suffix {
				if n > int64(MaxDuration/u.size) {
					return 0, fmt.Errorf("duration %q is over the bound of %s", text, Duration(MaxDuration))
				}
				return Duration(time.Duration(n) * u.size), nil
			}
		}
	}
	return 0, fmt.Errorf("%.40q is not a duration; write a whole number and one of ms, s, m, h, d, such as 30s", text)
}

// String writes the duration in the largest unit that holds it exactly, rounded
// up to a millisecond.
func (d Duration) String() string {
	t := d.whole().Std().Truncate(time.Millisecond)
	if t == 0 {
		return "0s"
	}
	for _, u := range durationUnits {
		if t%u.size == 0 {
			return strconv.FormatInt(int64(t/u.size), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(t/time.Millisecond), 10) + "ms"
}

// whole rounds up to a millisecond, which is what JSON keeps.
func (d Duration) whole() Duration {
	if r := d % Duration(time.Millisecond); r > 0 {
		return d + Duration(time.Millisecond) - r
	}
	return d
}

// Std returns the duration as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalText writes what String writes.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalJSON reads a JSON string in the form of ParseDuration. Its error is
// a *json.UnmarshalTypeError, after which the decoder goes on.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return notDuration(fmt.Errorf("a duration is a string such as \"30s\", not %.40s", raw))
	}
	parsed, err := ParseDuration(text)
	if err != nil {
		return notDuration(err)
	}
	*d = parsed
	return nil
}

var durationType = reflect.TypeFor[Duration]()

// notDuration carries what is wrong with a duration through the JSON decoder.
func notDuration(err error) error {
	return &json.UnmarshalTypeError{Value: err.Error(), Type: durationType}
}

// durationWords returns what notDuration was told.
func durationWords(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrong.Value
	}
	return err.Error()
}
