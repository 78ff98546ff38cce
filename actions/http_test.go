package actions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"reprise/actions"
	"reprise/contract"
	"reprise/domain"
	"reprise/worker"
)

// site answers what the tests ask for.
func site(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Long", strings.Repeat("v", 5000))
		fmt.Fprintf(w, "%s %s|%s|%s|%s|%s", r.Method, r.Host, r.Header.Get("Content-Type"), r.Header.Get("Idempotency-Key"), r.Header.Get("X-Mine"), body)
	})
	mux.HandleFunc("/json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
		_, _ = io.WriteString(w, `{"ok":true}`)
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		var code int
		_, _ = fmt.Sscan(r.PathValue("code"), &code)
		w.Header().Set("Location", "/echo")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "because")
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			if _, err := w.Write(make([]byte, 10_000)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/many", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 200 {
			w.Header().Set(fmt.Sprintf("X-%d", i), "v")
		}
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "short")
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

func httpTask(t *testing.T, input string) *worker.Task {
	t.Helper()
	return worker.NewTask("ann", "s1", contract.Assignment{Chain: "c", Step: "b", Attempt: 1, Input: []byte(input)})
}

func TestHTTP(t *testing.T) {
	base := site(t)
	host := strings.TrimPrefix(base, "http://")
	tests := []struct {
		name, input, body, json string
		status                  int
	}{
		{"get", `{"url":"%s/echo"}`, "GET " + host + "||s1/c/b/1||", "", 200},
		{"text", `{"method":"post","url":"%s/echo","body":"hi"}`, "POST " + host + "|text/plain; charset=utf-8|s1/c/b/1||hi", "", 200},
		{"JSON", `{"method":"PUT","url":"%s/echo","body":{"a":1},"headers":{"X-Mine":"m","Idempotency-Key":"k","Host":"h"}}`, `PUT h|application/json|k|m|{"a":1}`, "", 200},
		{"JSON response", `{"url":"%s/json"}`, "", `{"ok":true}`, 200},
		{"created", `{"url":"%s/status/201"}`, "because", "", 201},
		{"expected failure", `{"url":"%s/status/404","expectStatus":[200,404]}`, "because", "", 404},
		{"expected redirect", `{"url":"%s/status/302","expectStatus":[302]}`, "because", "", 302},
		{"redirect", `{"url":"%s/status/302"}`, "GET " + host + "||s1/c/b/1||", "", 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := actions.Builtin(actions.NameHTTP)(t.Context(), httpTask(t, fmt.Sprintf(test.input, base)))
			if err != nil {
				t.Fatal(err)
			}
			res := out.(actions.HTTPResult)
			if res.Status != test.status || res.Body != test.body || string(res.JSON) != test.json || len(res.Headers["X-Long"]) > 1024 {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestHTTPFailures(t *testing.T) {
	base := site(t)
	tests := []struct {
		name, input, code, message string
		permanent                  bool
	}{
		{"server error", `{"url":"%s/status/503"}`, "http_status", "answered 503", false},
		{"too many", `{"url":"%s/status/429"}`, "http_status", "answered 429", false},
		{"not found", `{"url":"%s/status/404"}`, "http_status", "answered 404", true},
		{"not the one", `{"url":"%s/status/202","expectStatus":[200]}`, "http_status", "answered 202", true},
		{"broken off", `{"url":"%s/broken"}`, "http_failed", "EOF", false},
		{"loop", `{"url":"%s/loop"}`, "http_failed", "redirects", false},
		{"nobody there", `{"url":"http://127.0.0.1:1/%s"}`, "http_failed", "refused", false},
		{"no address", `{"url":"%.0s/x"}`, "invalid_input", "url", true},
		{"other scheme", `{"url":"file:///etc/passwd%.0s"}`, "invalid_input", "url", true},
		{"no status", `{"url":"%s/echo","expectStatus":[7]}`, "invalid_input", "no status", true},
		{"bad method", `{"url":"%s/echo","method":"A B"}`, "invalid_input", "method", true},
		{"unknown field", `{"uri":"%s"}`, "invalid_input", "uri", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := actions.HTTP(actions.HTTPConfig{})(t.Context(), httpTask(t, fmt.Sprintf(test.input, base)))
			e, ok := errors.AsType[*worker.Error](err)
			if !ok || e.Code != test.code || !strings.Contains(e.Message, test.message) || e.Permanent != test.permanent {
				t.Errorf("error %+v", err)
			}
		})
	}
}

func TestHTTPBounds(t *testing.T) {
	base := site(t)
	out, err := actions.HTTP(actions.HTTPConfig{})(t.Context(), httpTask(t, `{"url":"`+base+`/large"}`))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := domain.Marshal(out)
	if err != nil || len(raw) > domain.MaxPayloadBytes || !out.(actions.HTTPResult).Truncated {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	out, err = actions.HTTP(actions.HTTPConfig{})(t.Context(), httpTask(t, `{"url":"`+base+`/many"}`))
	if err != nil || len(out.(actions.HTTPResult).Headers) > 64 {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestHTTPTimeouts(t *testing.T) {
	base := site(t)
	_, err := actions.HTTP(actions.HTTPConfig{Timeout: 20 * time.Millisecond})(t.Context(), httpTask(t, `{"url":"`+base+`/slow"}`))
	if e, ok := errors.AsType[*worker.Error](err); !ok || e.Code != "http_failed" || e.Permanent || !errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(worker.ErrCancelled)
	if _, err := actions.HTTP(actions.HTTPConfig{})(ctx, httpTask(t, `{"url":"`+base+`/slow"}`)); !errors.Is(err, worker.ErrCancelled) {
		t.Errorf("error %v", err)
	}
}

func TestBuiltins(t *testing.T) {
	for _, name := range actions.Names() {
		if actions.Builtin(name) == nil {
			t.Errorf("there is no %s", name)
		}
	}
	if actions.Builtin("shell") != nil {
		t.Error("there is a handler for an unknown name")
	}
}
