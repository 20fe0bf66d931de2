package iotdaclient

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzRetryAfterAsksForNothingToAMinute(f *testing.F) {
	for _, header := range []string{"", "0", "5", "3600", "-1", "+7", "1e3", "soon", "99999999999999999999", "9223372036854775807", "-9223372036854775807", "-9223372036854775808", " 5",
		"Sun, 01 Mar 2026 12:00:20 GMT", "Sunday, 01-Mar-26 12:00:20 GMT", "Sun Mar  1 12:00:20 2026", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"} {
		f.Add(header, int64(1772366400))
		f.Add(header, int64(-62135596800))
	}
	f.Fuzz(func(t *testing.T, header string, at int64) {
		now := time.Unix(at%(1<<40), 0)
		d := retryAfter(header, now)
		require.GreaterOrEqual(t, d, time.Duration(0))
		require.LessOrEqual(t, d, time.Minute)
		if strings.HasPrefix(header, "-") {
			require.Zero(t, d)
		}
		if date, err := http.ParseTime(header); err == nil {
			require.Equal(t, d > 0, date.After(now))
		}
	})
}

// endless is a body that never ends, and counts what was taken of it.
type endless struct {
	chunk []byte
	taken int64
	fails int64 // after so much; 0 = never
}

func (e *endless) Read(p []byte) (int, error) {
	if e.fails > 0 && e.taken >= e.fails {
		return 0, errors.New("reset by peer")
	}
	n := copy(p, e.chunk)
	e.taken += int64(n)
	return n, nil
}

func (e *endless) Close() error { return nil }

type answering func() *http.Response

func (f answering) RoundTrip(*http.Request) (*http.Response, error) { return f(), nil }

func FuzzAReplyIsReadToItsEndOrToTheLimitAndNoFurther(f *testing.F) {
	f.Add([]byte("abc"), uint16(3), false, uint16(0), "")
	f.Add([]byte("abc"), uint16(2), false, uint16(0), "Wed, 25 Nov 2026 02:00:49 GMT")
	f.Add([]byte("abc"), uint16(1000), true, uint16(0), "Mon, 01 Jan 0001 00:00:00 GMT")
	f.Add([]byte("abc"), uint16(1000), true, uint16(9), "Fri, 31 Dec 9999 23:59:59 GMT")
	f.Fuzz(func(t *testing.T, body []byte, limit uint16, goesOn bool, fails uint16, date string) {
		from := io.NopCloser(strings.NewReader(string(body)))
		stream := &endless{chunk: append(body, 'x'), fails: int64(fails)}
		if goesOn {
			from = stream
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:1", nil)
		require.NoError(t, err)
		r, e := receive(newHTTP(answering(func() *http.Response {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Date": {date}}, Body: from}
		})), req, int64(limit), func(r *reply, body io.Reader) error {
			if limit%4 == 1 { // it leaves everything
				return nil
			}
			return r.keep(body, int64(limit))
		})
		require.NotNil(t, r)
		require.LessOrEqual(t, len(r.body), int(limit)+1)
		require.LessOrEqual(t, stream.taken, int64(limit)+1+512)
		require.Equal(t, goesOn || len(body) > int(limit), e != nil)
		if e != nil {
			require.False(t, e.whole)
			require.NotEmpty(t, e.Error())
			e.Class = "auth"
			require.NotEmpty(t, e.Remedy(), "however far the clocks are apart")
		} else {
			require.Equal(t, limit%4 == 1, r.body == nil)
			require.True(t, limit%4 == 1 || string(body) == string(r.body))
			require.Equal(t, string(body), string(r.begun))
		}
		_, err = http.ParseTime(date)
		require.Equal(t, err != nil, r.date.IsZero() && r.clockAhead == 0)
	})
}
