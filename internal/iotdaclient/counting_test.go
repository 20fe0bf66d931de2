package iotdaclient_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotdaclient"
)

// TestALoginIsToldToTheConnectionThatNeededIt: connections that share a login share its tokens too.
func TestALoginIsToldToTheConnectionThatNeededIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		told := map[string][]iotdaclient.LoginResult{}
		named := func(name string, from iotdaclient.Source) *iotdaclient.Client {
			o := w.options(from, w.e)
			o.Name, o.LoggedIn = name, func(r iotdaclient.LoginResult) { told[name] = append(told[name], r) }
			c, err := iotdaclient.New(o)
			require.NoError(t, err)
			require.True(t, c.LogsIn())
			return c
		}
		require.Error(t, list(t.Context(), named("wrong", w.login(t, "battery staple"))))
		right := w.login(t, password)
		first, second := named("first", right), named("second", right)
		w.iamDown.Store(true)
		require.Error(t, list(t.Context(), first))
		w.iamDown.Store(false)
		time.Sleep(time.Minute)
		require.NoError(t, list(t.Context(), second))
		require.NoError(t, list(t.Context(), first))
		require.Equal(t, []iotdaclient.LoginResult{iotdaclient.LoginRefused}, told["wrong"])
		require.Equal(t, []iotdaclient.LoginResult{iotdaclient.LoginAccepted}, told["second"], "it has needed the token")
		require.NotEmpty(t, told["first"])
		for _, r := range told["first"] {
			require.Equal(t, iotdaclient.LoginFailed, r, "IAM was not there, and then there was a token")
		}
		require.False(t, w.client(t, iotdaclient.Token("x"), w.e).LogsIn())
	})
}

func TestCallsAreCountedByTheContextThatTheyAreMadeIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(emulator.Options{})
		c := w.client(t, w.login(t, password), w.e)
		ctx, calls := iotdaclient.Counting(t.Context())
		require.NoError(t, list(ctx, c))
		require.NoError(t, list(t.Context(), c))
		_, e := c.RetryTask(ctx, "ab", []string{"d"}, nil)
		require.NotNil(t, e, "there is no such task")
		require.Len(t, w.e.Calls(), 3)
		require.EqualValues(t, 2, calls())
	})
}
