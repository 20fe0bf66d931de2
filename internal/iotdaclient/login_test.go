package iotdaclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

// inMemory is a network without sockets, so that virtual time can move.
type inMemory struct {
	handler http.Handler
	down    *atomic.Bool // nil = never
}

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if m.down != nil && m.down.Load() {
		return nil, errors.New("connection refused")
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	done := make(chan *http.Response, 1)
	go func() {
		recorder := httptest.NewRecorder()
		m.handler.ServeHTTP(recorder, r)
		done <- recorder.Result()
	}()
	select {
	case resp := <-done:
		return resp, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// world is an emulated platform with its IAM, and connections that share one login.
type world struct {
	e       *emulator.Emulator
	guards  *iotdaclient.Guards
	iamDown atomic.Bool
	ends    atomic.Pointer[time.Time] // of the credentials of the last call
}

func newWorld(o emulator.Options) *world {
	o.Users, o.Latency = []emulator.User{robot}, 10*time.Millisecond
	return &world{e: platform(o), guards: iotdaclient.NewGuards()}
}

func (w *world) login(t testing.TB, pass string) *iotdaclient.Login {
	return login(t, nil, func(o *iotdaclient.LoginOptions) {
		o.Password, o.Guards, o.Transport = pass, w.guards, inMemory{w.e.IAM(), &w.iamDown}
	})
}

func (w *world) client(t testing.TB, from iotdaclient.Source, api http.Handler) *iotdaclient.Client {
	c, err := iotdaclient.New(w.options(from, api))
	require.NoError(t, err)
	return c
}

func (w *world) options(from iotdaclient.Source, api http.Handler) iotdaclient.Options {
	return iotdaclient.Options{
		Name: "prod", Endpoint: "http://127.0.0.1:1", Region: "cn-north-4", ProjectID: project, Credentials: from,
		Budget: iotdaclient.NewBudget(1000, 100), Guards: w.guards, Concurrency: 64, Timeout: 5 * time.Second,
		Backoff:   iotdaclient.Backoff{Initial: time.Second, Multiplier: 2, Max: 2 * time.Second, MaxElapsed: 3 * time.Second},
		Observe:   func(x iotdaclient.Exchange) { w.ends.Store(&x.Expires) },
		Transport: inMemory{api, nil},
	}
}

func refusals(e *emulator.Emulator) (at []time.Time) {
	for _, l := range e.Logins() {
		if !l.Accepted {
			at = append(at, l.At)
		}
	}
	for _, c := range e.Calls() {
		if c.Status == http.StatusUnauthorized {
			at = append(at, c.At)
		}
	}
	return at
}

// most gives how many of these fell into any such span of time.
func most(at []time.Time, span time.Duration) (n int) {
	for _, from := range at {
		in := 0
		for _, other := range at {
			if d := other.Sub(from); d >= 0 && d < span {
				in++
			}
		}
		n = max(n, in)
	}
	return n
}

func TestATokenIsRenewedBeforeItEndsAndNoCallIsRefused(t *testing.T) {
	for _, life := range []time.Duration{24 * time.Hour, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(emulator.Options{TokenLife: life})
			c := w.client(t, w.login(t, password), w.e)
			for begun := time.Now(); time.Since(begun) < 72*time.Hour; time.Sleep(97 * time.Second) {
				require.NoError(t, list(t.Context(), c))
				left := time.Until(*w.ends.Load())
				require.Greater(t, left, min(time.Hour, life/10)-2*time.Minute)
				require.LessOrEqual(t, left, life)
			}
			require.Empty(t, refusals(w.e))
			require.InDelta(t, int(72*time.Hour/(life-min(time.Hour, life/10))), len(w.e.Logins()), 2)
		})
	}
}

func TestATokenIsUsedAsLongAsItHoldsWhileIAMIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		c := w.client(t, w.login(t, password), w.e)
		begun := time.Now()
		require.NoError(t, list(t.Context(), c))
		w.iamDown.Store(true)
		for time.Since(begun) < 24*time.Hour-time.Minute {
			require.NoError(t, list(t.Context(), c), time.Since(begun))
			time.Sleep(10 * time.Second)
		}
		require.Empty(t, refusals(w.e))
		time.Sleep(2 * time.Minute)

		calls := len(w.e.Calls())
		err := list(t.Context(), c)
		require.ErrorContains(t, err, `connection "prod": KeystoneCreateUserTokenByPassword: connection refused`)
		require.Equal(t, iotda.ClassTransient, iotdaclient.AsError(err).Class)
		_, e := c.RetryTask(t.Context(), "ab", []string{"d"}, nil)
		require.NotNil(t, e)
		require.True(t, e.NoEffect(), "nothing was sent to the platform")
		require.False(t, e.RefusedBatch())
		require.Len(t, w.e.Calls(), calls)

		w.iamDown.Store(false)
		time.Sleep(time.Minute)
		require.NoError(t, list(t.Context(), c))
		require.Len(t, w.e.Logins(), 2)
	})
}

func TestAHangingIAMIsNotAskedByEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		var asked atomic.Int64
		hangs := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked.Add(1); <-r.Context().Done() })
		c := w.client(t, login(t, nil, func(o *iotdaclient.LoginOptions) { o.Guards, o.Transport = w.guards, inMemory{hangs, nil} }), w.e)
		begun := time.Now()
		for time.Since(begun) < 10*time.Minute {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			require.Error(t, list(ctx, c))
			cancel()
			time.Sleep(100 * time.Millisecond)
		}
		require.Less(t, asked.Load(), int64(15))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begun = time.Now()
		require.ErrorIs(t, list(ctx, c), context.Canceled)
		require.Equal(t, time.Second, time.Since(begun))
	})
}

func TestACallerThatLeavesHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		slow := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			w.e.ServeHTTP(rw, r)
		})
		c := w.client(t, login(t, nil, func(o *iotdaclient.LoginOptions) { o.Guards, o.Transport = w.guards, inMemory{slow, nil} }), w.e)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		time.AfterFunc(500*time.Millisecond, cancel)
		require.ErrorIs(t, list(ctx, c), context.Canceled)
		require.NoError(t, list(t.Context(), c))
		require.Less(t, time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), 2*time.Second)
	})
}

func TestAWrongPasswordLocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		wrong := w.login(t, "battery staple")
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		var all sync.WaitGroup
		for range 3 {
			c := w.client(t, wrong, w.e)
			all.Go(func() {
				for ctx.Err() == nil {
					err := list(ctx, c)
					require.Error(t, err)
					require.NotContains(t, err.Error(), "battery")
					if ctx.Err() == nil {
						require.ErrorContains(t, err, "HTTP 401 The username or password is wrong. (request id ")
						require.ErrorContains(t, err, "auth.iam.password")
						require.Equal(t, iotda.ClassAuth, iotdaclient.AsError(err).Class)
					}
					_, e := c.RetryTask(ctx, "ab", []string{"d"}, nil)
					require.True(t, e.NoEffect())
					time.Sleep(7 * time.Second)
				}
			})
		}
		all.Wait()
		require.LessOrEqual(t, most(refusals(w.e), 5*time.Minute), 2)
		require.LessOrEqual(t, most(refusals(w.e), time.Hour), 2, "three in an hour may lock the user")
		require.Empty(t, w.e.Calls())

		require.NoError(t, list(t.Context(), w.client(t, w.login(t, password), w.e)), "the right one is used at once")
	})
}

func TestAWrongPasswordIsCountedOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{}) // whose guards stand for a ledger that outlives the program
		for begun := time.Now(); time.Since(begun) < time.Hour; time.Sleep(20 * time.Second) {
			err := list(t.Context(), w.client(t, w.login(t, "battery staple"), w.e))
			require.ErrorContains(t, err, "auth.iam")
			require.NotContains(t, err.Error(), "battery")
		}
		require.Len(t, refusals(w.e), 2, "three in an hour may lock the user")
	})
}

func TestARevokedTokenIsRenewedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		id := addTask(t, w.e, 3)
		c := w.client(t, w.login(t, password), w.e)
		require.NoError(t, list(t.Context(), c))

		w.e.RevokeTokens()
		require.NoError(t, list(t.Context(), c))
		require.Len(t, w.e.Logins(), 2)
		require.Len(t, refusals(w.e), 1)

		time.Sleep(10 * time.Minute)
		w.e.RevokeTokens()
		var all sync.WaitGroup
		for range 8 { // each carries the same token
			all.Go(func() { require.NoError(t, list(t.Context(), c)) })
		}
		all.Wait()
		require.Len(t, w.e.Logins(), 3)

		time.Sleep(10 * time.Minute)
		w.e.RevokeTokens()
		before := len(w.e.Calls())
		_, e := c.RetryTask(t.Context(), id, []string{"d-0001"}, nil)
		require.NotNil(t, e)
		require.True(t, e.NoEffect())
		require.Equal(t, iotda.ClassAuth, e.Class)
		require.Len(t, w.e.Calls(), before+1, "a retry is sent once")
		_, e = c.RetryTask(t.Context(), id, []string{"d-0001"}, nil)
		require.Nil(t, e)
		require.Len(t, w.e.Logins(), 4)
	})
}

func TestAUserWhoseTokensAreRefusedDoesNotHammer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		other := platform(emulator.Options{}) // knows no token of that IAM
		shared := w.login(t, password)
		var all sync.WaitGroup
		for range 3 {
			c := w.client(t, shared, other)
			all.Go(func() {
				for begun := time.Now(); time.Since(begun) < time.Hour; time.Sleep(7 * time.Second) {
					err := list(t.Context(), c)
					require.Error(t, err)
					require.NotContains(t, err.Error(), password)
					require.Contains(t, err.Error(), "auth.iam")
				}
			})
		}
		all.Wait()
		require.LessOrEqual(t, most(refusals(other), 5*time.Minute), 2)
		require.LessOrEqual(t, len(w.e.Logins()), 26, "each refusal may bring one login")
	})
}

func TestFiftyFirstCallsLogInOnce(t *testing.T) {
	e := platform(emulator.Options{Users: []emulator.User{robot}})
	c := client(t, e, func(o *iotdaclient.Options) {
		o.Concurrency = 50
		o.Credentials = login(t, e.IAM(), func(l *iotdaclient.LoginOptions) { l.Guards = o.Guards })
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { require.NoError(t, list(t.Context(), c)) })
	}
	all.Wait()
	require.Len(t, e.Logins(), 1)
}

func TestATokensEndIsReadByThePlatformsClock(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) string { return now.Add(d).UTC().Format("2006-01-02T15:04:05.000000Z") }
	for name, c := range map[string]struct {
		body  string
		ahead time.Duration // of IAM's clock
		want  time.Duration
	}{
		"as documented":       {`{"token":{"expires_at":"` + at(5*time.Hour) + `"}}`, 0, 5 * time.Hour},
		"IAM's clock is fast": {`{"token":{"expires_at":"` + at(8*time.Hour) + `"}}`, 3 * time.Hour, 5 * time.Hour},
		"IAM's clock is slow": {`{"token":{"expires_at":"` + at(2*time.Hour) + `"}}`, -3 * time.Hour, 5 * time.Hour},
		"without a zone":      {`{"token":{"expires_at":"` + strings.TrimSuffix(at(5*time.Hour), "Z") + `"}}`, 0, 5 * time.Hour},
		"no time":             {`{"token":{}}`, 0, 24*time.Hour - 10*time.Minute},
		"no JSON":             {`ok`, 0, 24*time.Hour - 10*time.Minute},
		"in the past":         {`{"token":{"expires_at":"` + at(-time.Hour) + `"}}`, 0, 24*time.Hour - 10*time.Minute},
		"next century":        {`{"token":{"expires_at":"2199-01-01T00:00:00Z"}}`, 0, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			l := login(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", now.Add(c.ahead).UTC().Format(http.TimeFormat))
				w.Header().Set("X-Subject-Token", "t")
				w.WriteHeader(http.StatusCreated)
				_, _ = w.Write([]byte(c.body))
			}), nil)
			cred, err := l.Credential(t.Context())
			require.NoError(t, err)
			require.WithinDuration(t, now.Add(c.want), cred.Expires, 5*time.Second)
		})
	}
}

func TestOddRepliesOfIAMAreErrorsWithoutSecrets(t *testing.T) {
	echo := `{"error":{"code":%d,"message":"bad: ` + password + `"}}`
	for name, c := range map[string]struct {
		status int
		body   string
		class  iotda.Class
		text   string
	}{
		"wrong password": {401, fmt.Sprintf(echo, 401), iotda.ClassAuth, "HTTP 401 bad: ***"},
		"no right":       {403, fmt.Sprintf(echo, 403), iotda.ClassAuth, "auth.iam.user"},
		"the gateway's":  {401, `{"error_code":"APIGW.0301","error_msg":"Incorrect"}`, iotda.ClassAuth, "APIGW.0301 Incorrect"},
		"throttled":      {429, ``, iotda.ClassThrottled, "HTTP 429"},
		"down":           {503, `<html>` + password, iotda.ClassTransient, "HTTP 503 with a body that is not IAM's"},
		"bad project":    {400, fmt.Sprintf(echo, 400), "credentials", "check auth.iam.endpoint"},
		"no IAM":         {404, `<html>` + password, "credentials", "check auth.iam.endpoint"},
		"a redirect":     {302, ``, "credentials", "HTTP 302"},
		"no token":       {201, `{}`, iotda.ClassBroken, "no X-Subject-Token"},
		"huge":           {201, strings.Repeat("x", 2<<20), iotda.ClassBroken, "larger than 1 MB"},
	} {
		t.Run(name, func(t *testing.T) {
			e := platform(emulator.Options{})
			iam := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			cl := client(t, e, func(o *iotdaclient.Options) {
				o.Credentials = login(t, iam, func(l *iotdaclient.LoginOptions) { l.Guards = o.Guards })
			})
			_, err := cl.RetryTask(t.Context(), "ab", []string{"d"}, nil)
			require.NotNil(t, err)
			require.Equal(t, c.class, err.Class)
			require.ErrorContains(t, err, c.text)
			require.NotContains(t, err.Error(), password)
			require.True(t, err.NoEffect())
			require.False(t, err.RefusedBatch() || err.Gone())
			require.Empty(t, e.Calls())
		})
	}
}

func TestALoginNeedsAnEndpoint(t *testing.T) {
	_, err := iotdaclient.NewLogin(iotdaclient.LoginOptions{Endpoint: "iam"})
	require.ErrorContains(t, err, "not scheme://host")
	_, err = iotdaclient.NewLogin(iotdaclient.LoginOptions{Endpoint: "https://iam"})
	require.ErrorContains(t, err, "no guards")
	_, err = iotdaclient.NewLogin(iotdaclient.LoginOptions{Endpoint: "https://iam", Guards: iotdaclient.NewGuards(), CAFile: "/nowhere"})
	require.ErrorContains(t, err, "read ca_file")
}
