package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"reprise/contract"
	"reprise/eventstore"
)

func TestClassify(t *testing.T) {
	for code, want := range map[int]error{
		10071: eventstore.ErrConflict, // wrong last sequence: on one replica
		10164: eventstore.ErrConflict, // the same on several
		10201: eventstore.ErrConflict, // a batch that is sent again
		10054: eventstore.ErrTooLarge,
		10097: eventstore.ErrTooLarge,
		10037: eventstore.ErrNotFound,
		10002: eventstore.ErrUnavailable,
		10008: eventstore.ErrUnavailable,
		10023: eventstore.ErrUnavailable,
		10077: eventstore.ErrUnavailable,
		10176: eventstore.ErrUnavailable,
		99999: eventstore.ErrUnavailable,
	} {
		err := classify(&apiError{Code: 400, ErrCode: code, Description: "the words of the server"})
		if !errors.Is(err, want) || !strings.Contains(err.Error(), "the words of the server") || !strings.Contains(err.Error(), fmt.Sprint(code)) {
			t.Errorf("%d is %v, not %v", code, err, want)
		}
	}
}

func TestUnavailable(t *testing.T) {
	own := fmt.Errorf("own: %w", eventstore.ErrNotFound)
	for _, c := range []struct{ err, want error }{
		{nats.ErrNoResponders, eventstore.ErrUnavailable},
		{nats.ErrTimeout, eventstore.ErrUnavailable},
		{io.EOF, eventstore.ErrUnavailable},
		{context.Canceled, context.Canceled},
		{own, eventstore.ErrNotFound},
		{&js.APIError{Code: 404, ErrorCode: 10059, Description: "stream not found"}, eventstore.ErrUnavailable},
		{&js.APIError{Code: 404, ErrorCode: 10037, Description: "no message found"}, eventstore.ErrNotFound},
	} {
		if got := unavailable(c.err); !errors.Is(got, c.want) {
			t.Errorf("%v is %v, not %v", c.err, got, c.want)
		}
	}
	if unavailable(nil) != nil {
		t.Error("no error has become one")
	}
}

func TestParseAck(t *testing.T) {
	status := nats.Header{"Status": []string{"503"}}
	for _, c := range []struct {
		body   string
		header nats.Header
		seq    uint64
		err    error
	}{
		{`{"stream":"X","seq":22}`, nil, 22, nil},
		{`{"stream":"X", "seq":22}`, nil, 22, nil},
		{`{"stream":"X","seq":22,"duplicate":true}`, nil, 22, nil},
		{`{"stream":"X","domain":"hub","seq":7}`, nil, 7, nil},
		{`{"stream":"X","seq":22,"batch":"b","count":2}`, nil, 22, nil},
		{``, nil, 0, nil},
		{``, status, 0, eventstore.ErrUnavailable},
		{`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"X","seq":0}`, nil, 0, eventstore.ErrConflict},
		{`{"stream":"X","error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"seq":9}`, nil, 0, eventstore.ErrConflict},
		{`{"stream":"X","seq":0}`, nil, 0, eventstore.ErrUnknownOutcome},
		{`{"stream":"X"}`, nil, 0, eventstore.ErrUnknownOutcome},
		{`{"stream":"X","seq":1`, nil, 0, eventstore.ErrUnknownOutcome},
		{`what?`, nil, 0, eventstore.ErrUnknownOutcome},
	} {
		got := parseAck(&nats.Msg{Data: []byte(c.body), Header: c.header})
		if got.seq != c.seq || !errors.Is(got.err, c.err) || (got.err == nil) != (c.err == nil) {
			t.Errorf("%s is %+v", c.body, got)
		}
	}
}

func TestCheckServer(t *testing.T) {
	for version, good := range map[string]bool{
		"2.12.0": true, "2.15.2": true, "v2.12.1": true, "3.0.0": true, "2.12.0-preview.1": true,
		"2.11.9": false, "2.9": false, "1.4.1": false, "": false, "new": false, "a.b.c": false,
	} {
		err := checkServer(version)
		if (err == nil) != good || err != nil && (!errors.Is(err, ErrStream) || !strings.Contains(err.Error(), "2.12")) {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func TestKeyOfSubject(t *testing.T) {
	d := &Driver{names: contract.Default(), stream: "REPRISE_EVENTS"}
	for subject, want := range map[string]eventstore.Key{
		"reprise.evt.ada.s1":         {User: "ada", Session: "s1"},
		"reprise.evt.=YSBi.s1":       {User: "a b", Session: "s1"},
		"reprise.evt.=not base64.s1": {User: "=not base64", Session: "s1"},
	} {
		if got, err := d.key(subject); err != nil || got != want {
			t.Errorf("%s is of %+v (%v)", subject, got, err)
		}
	}
	for _, subject := range []string{"other.evt.ada.s1", "reprise.evt.ada", ""} {
		if key, err := d.key(subject); err == nil {
			t.Errorf("%s is of %+v", subject, key)
		}
	}
}

// TestDecodeGuard takes a message for guarded only if its guard is a number.
func TestDecodeGuard(t *testing.T) {
	d := &Driver{names: contract.Default()}
	for guard, want := range map[string]bool{"0": true, "17": true, "": false, "x": false, "-1": false} {
		h := nats.Header{contract.HeaderGuard: []string{guard}, "ce-id": []string{"c"}, "Nats-Batch-Id": []string{"b"}, "Empty": nil}
		m, err := d.decode("reprise.evt.ada.s1", 4, time.Time{}, h, nil)
		if err != nil || m.Guarded != want || len(m.Header) != 1 || m.Header["ce-id"] != "c" {
			t.Errorf("guard %q: %+v (%v)", guard, m, err)
		}
	}
}

func TestAPIPrefix(t *testing.T) {
	nc := &nats.Conn{}
	plain, err := js.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	domain, err := js.NewWithDomain(nc, "hub")
	if err != nil {
		t.Fatal(err)
	}
	prefixed, err := js.NewWithAPIPrefix(nc, "acme.api")
	if err != nil {
		t.Fatal(err)
	}
	dotted, err := js.NewWithAPIPrefix(nc, "acme.api.")
	if err != nil {
		t.Fatal(err)
	}
	for api, want := range map[js.JetStream]string{plain: "$JS.API.", domain: "$JS.hub.API.", prefixed: "acme.api.", dotted: "acme.api."} {
		if got := apiPrefix(api); got != want {
			t.Errorf("the prefix is %q, not %q", got, want)
		}
	}
}
