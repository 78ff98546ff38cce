package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"reprise/worker"
)

const (
	// DefaultHTTPTimeout bounds a request whose step has no shorter timeout.
	DefaultHTTPTimeout = time.Minute
	// maxBody is how many bytes of a response are kept.
	maxBody = 64 << 10
	// maxHeader bounds each value of a response's header that is kept, and
	// maxHeaders their number.
	maxHeader, maxHeaders = 1 << 10, 64
	// maxRedirects is how many redirects are followed.
	maxRedirects = 10
)

// HTTPConfig says how requests are sent. The zero value of every field is a good
// default.
type HTTPConfig struct {
	// Transport sends the requests; http.DefaultTransport if nil.
	Transport http.RoundTripper
	// Timeout bounds a request whose step has no shorter timeout.
	Timeout time.Duration
}

// HTTPInput is the input of a step that sends a request.
type HTTPInput struct {
	// Method is GET if empty.
	Method string `json:"method,omitempty"`
	// URL is an http or https address.
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`
	// Body is sent as it is if it is a string, else as JSON.
	Body json.RawMessage `json:"body,omitempty"`
	// ExpectStatus are the statuses that count as success; 200 to 299 if empty.
	ExpectStatus []int `json:"expectStatus,omitempty"`
}

// HTTPResult is the output of a step that sent a request.
type HTTPResult struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	// JSON is the body of a response that is JSON; Body that of any other.
	JSON json.RawMessage `json:"json,omitempty"`
	Body string          `json:"body,omitempty"`
	// Truncated says that the response was longer than what is kept.
	Truncated bool `json:"truncated,omitempty"`
}

// HTTP returns the handler that sends requests. Its errors have the codes
// http_status, http_failed and invalid_input. Failures to connect, timeouts and
// the statuses 408, 425, 429 and 5xx may be tried again; other statuses that
// were not expected are permanent. Unless the step says otherwise the request
// has the header Idempotency-Key.
func HTTP(cfg HTTPConfig) worker.Handler {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultHTTPTimeout
	}
	return func(ctx context.Context, t *worker.Task) (any, error) {
		var in HTTPInput
		if err := decode(t, &in); err != nil {
			return nil, err
		}
		if err := in.check(); err != nil {
			return nil, err
		}
		return cfg.send(ctx, t, in)
	}
}

func (in *HTTPInput) check() error {
	u, err := url.Parse(in.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return invalid(fmt.Sprintf("url is %.200q; use an address such as https://example.org/path", in.URL))
	}
	for _, status := range in.ExpectStatus {
		if status < 200 || status > 599 {
			return invalid(fmt.Sprintf("expectStatus: %d is no status; use 200 to 599", status))
		}
	}
	return nil
}

// expects reports whether a status is a success.
func (in *HTTPInput) expects(status int) bool {
	if len(in.ExpectStatus) == 0 {
		return status >= 200 && status < 300
	}
	return slices.Contains(in.ExpectStatus, status)
}

func (cfg HTTPConfig) send(ctx context.Context, t *worker.Task, in HTTPInput) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	req, err := in.request(ctx, t)
	if err != nil {
		return nil, err
	}
	t.Progress(req.Method + " " + req.URL.Redacted())
	client := http.Client{Transport: cfg.Transport, CheckRedirect: in.redirect}
	resp, err := client.Do(req)
	if err != nil {
		return nil, failed(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	result, err := read(resp)
	if err != nil {
		return nil, failed(ctx, err)
	}
	if !in.expects(resp.StatusCode) {
		return nil, unexpected(req, result)
	}
	return result, nil
}

// request makes the request of a step.
func (in *HTTPInput) request(ctx context.Context, t *worker.Task) (*http.Request, error) {
	body, kind := []byte(in.Body), "application/json"
	var plain string
	if len(in.Body) > 0 && json.Unmarshal(in.Body, &plain) == nil {
		body, kind = []byte(plain), "text/plain; charset=utf-8"
	}
	req, err := http.NewRequestWithContext(ctx, strings.ToUpper(in.Method), in.URL, bytes.NewReader(body))
	if err != nil {
		return nil, invalid("the request can't be made: " + err.Error())
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Idempotency-Key", t.IdempotencyKey)
	req.Header.Set("User-Agent", "reprise")
	for name, value := range in.Headers {
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	return req, nil
}

// redirect follows redirects unless the step expects one.
func (in *HTTPInput) redirect(_ *http.Request, via []*http.Request) error {
	if slices.ContainsFunc(in.ExpectStatus, func(s int) bool { return s >= 300 && s < 400 }) {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("%d redirects are too many", maxRedirects)
	}
	return nil
}

// failed is the error of a request that got no response.
func failed(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return &worker.Error{Code: "http_failed", Message: "the request failed: " + err.Error(), Err: err}
}

// unexpected is the error of a status that the step does not expect.
func unexpected(req *http.Request, result HTTPResult) error {
	message := fmt.Sprintf("%s %s answered %d %s", req.Method, req.URL.Redacted(), result.Status, http.StatusText(result.Status))
	return &worker.Error{
		Code: "http_status", Message: message, Permanent: !worthAnotherTry(result.Status),
		Stack: result.Body + string(result.JSON), Output: result,
	}
}

func worthAnotherTry(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// read takes what is kept of a response.
func read(resp *http.Response) (HTTPResult, error) {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return HTTPResult{}, err
	}
	result := HTTPResult{Status: resp.StatusCode, Headers: headers(resp.Header), Truncated: len(raw) > maxBody}
	raw = raw[:min(len(raw), maxBody)]
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "application/json" || strings.HasSuffix(kind, "+json") {
		if result.JSON = asJSON(raw); result.JSON != nil {
			return result, nil
		}
	}
	for limit := len(raw); ; limit /= 2 { // control characters take up to six bytes in JSON
		result.Body = text(raw[:limit])
		if fits(result) {
			return result, nil
		}
		result.Truncated = true
	}
}

// headers keeps the first value of each header.
func headers(all http.Header) map[string]string {
	kept := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if len(kept) == maxHeaders {
			break
		}
		value := all.Get(name)
		kept[name] = text([]byte(value[:min(len(value), maxHeader)]))
	}
	return kept
}
