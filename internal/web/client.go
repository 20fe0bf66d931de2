package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Client asks the API, wherever it is: the transport decides. An answer that is an error is a *Problem.
type Client struct {
	HTTP *http.Client
	Base string // scheme and host
}

// maxAnswer is far above what one answer holds.
const maxAnswer = 64 << 20

// Get reads what is at a path below /api/v1/.
func (c *Client) Get(ctx context.Context, path string, query url.Values, into any) error {
	return c.do(ctx, http.MethodGet, path, query, nil, into, "")
}

// Post sends a body. Sent again with the same key, because the answer was not heard, it is done once.
func (c *Client) Post(ctx context.Context, path string, body, into any, key string) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	return c.do(ctx, http.MethodPost, path, nil, data, into, key)
}

// Delete ends something, once for each key.
func (c *Client) Delete(ctx context.Context, path string, query url.Values, into any, key string) error {
	return c.do(ctx, http.MethodDelete, path, query, nil, into, key)
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte, into any, key string) error {
	address := c.Base + "/api/v1/" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.HTTP.Do(req)
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err // the transport knows better words for where
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return problemOf(resp, data)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("what answers at %s is not retryd: %w", c.Base, err)
	}
	return nil
}

// problemOf reads an error; what is in front of the daemon need not speak as it does.
func problemOf(resp *http.Response, data []byte) *Problem {
	p := &Problem{}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(data, p) == nil && p.Detail != "" {
		return p
	}
	text := strings.Join(strings.Fields(string(data)), " ")
	if len(text) > 500 {
		text = text[:500] + " …"
	}
	detail := strings.TrimSuffix(fmt.Sprintf("HTTP %s: %s", resp.Status, text), ": ")
	return &Problem{Type: "about:blank", Title: http.StatusText(resp.StatusCode), Status: resp.StatusCode, Detail: detail, foreign: true}
}

// pageOfAll is how many things are asked for at once where all are wanted.
const pageOfAll = 500

// All reads a list page by page, up to most things; more tells whether there are others.
func All[T any](ctx context.Context, c *Client, path string, query url.Values, most int) (all []T, more bool, err error) {
	asked := url.Values{}
	for name, values := range query {
		asked[name] = values
	}
	for {
		var page List[T]
		asked.Set("limit", strconv.Itoa(max(1, min(pageOfAll, most-len(all)))))
		if err := c.Get(ctx, path, asked, &page); err != nil {
			return all, false, err
		}
		all = append(all, page.Items...)
		if page.Next == "" || len(all) >= most {
			return all, page.Next != "", nil
		}
		asked.Set("after", page.Next)
	}
}

// InProcess is the way to a handler of this process: no listener, and no network.
type InProcess struct{ Handler http.Handler }

// RoundTrip has the handler answer.
func (t InProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	asked := req.Clone(req.Context())
	asked.RequestURI = req.URL.RequestURI()
	if asked.Body == nil {
		asked.Body = http.NoBody
	}
	defer asked.Body.Close()
	w := &written{header: http.Header{}, status: http.StatusOK}
	t.Handler.ServeHTTP(w, asked)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: req,
	}, nil
}

// written is an answer as it is written.
type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *written) Header() http.Header            { return w.header }
func (w *written) WriteHeader(status int)         { w.status = status }
func (w *written) Write(data []byte) (int, error) { return w.body.Write(data) }
