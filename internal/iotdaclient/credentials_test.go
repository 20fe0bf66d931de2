package iotdaclient_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

const password = "correct horse"

var robot = emulator.User{Domain: "acme", Name: "robot", Password: password}

func key(signing iotdaclient.Signing) iotdaclient.Key {
	return iotdaclient.Key{AccessKey: "key", SecretKey: "secret", Signing: signing}
}

// login makes a login of the robot at an emulated IAM, over HTTP where there is no transport.
func login(t testing.TB, iam http.Handler, change func(*iotdaclient.LoginOptions)) *iotdaclient.Login {
	o := iotdaclient.LoginOptions{
		Endpoint: "http://127.0.0.1:1", Domain: robot.Domain, User: robot.Name, Password: password, ProjectID: project,
		Timeout: 5 * time.Second, Guards: iotdaclient.NewGuards(), UserAgent: "test",
	}
	if iam != nil {
		server := httptest.NewServer(iam)
		t.Cleanup(server.Close)
		o.Endpoint = server.URL
	}
	if change != nil {
		change(&o)
	}
	l, err := iotdaclient.NewLogin(o)
	require.NoError(t, err)
	t.Cleanup(l.Close)
	return l
}

func list(ctx context.Context, c *iotdaclient.Client) error {
	_, err := c.EachTask(ctx, iotda.FirmwareUpgrade, "", func(iotda.Task) error { return nil })
	return err
}

func TestCallsAreAcceptedWithEachKindOfCredentials(t *testing.T) {
	token, profile := filepath.Join(t.TempDir(), "token"), noKeys(t)
	require.NoError(t, os.WriteFile(token, []byte("old\n"), 0o600))
	require.NoError(t, os.WriteFile(profile, []byte("[basic]\nak = key\nsk = secret\n"), 0o600))
	for name, c := range map[string]struct {
		o    emulator.Options
		from iotdaclient.Source // nil = a login
		env  bool
	}{
		"basic":          {o: emulator.Options{Signing: "basic"}, from: key(iotdaclient.SigningBasic)},
		"derived":        {o: emulator.Options{Signing: "derived", Region: "cn-north-4"}, from: key(iotdaclient.SigningDerived)},
		"auto":           {o: emulator.Options{Signing: "derived"}, from: key(iotdaclient.SigningAuto)},
		"security token": {from: iotdaclient.Key{AccessKey: "key", SecretKey: "secret", SecurityToken: "st"}},
		"token":          {o: emulator.Options{Tokens: []string{"new"}}, from: iotdaclient.Token("new")},
		"token file":     {o: emulator.Options{Tokens: []string{"old"}}, from: iotdaclient.TokenFile(token)},
		"iam":            {o: emulator.Options{Users: []emulator.User{robot}}},
		"env":            {o: emulator.Options{Signing: "derived"}, from: provider(t, "env"), env: true},
		"profile":        {o: emulator.Options{Signing: "derived"}, from: provider(t, "profile")},
		"chain to env":   {from: provider(t, "chain"), env: true},
		"chain":          {from: provider(t, "chain")},
	} {
		t.Run(name, func(t *testing.T) {
			if c.env {
				t.Setenv("HUAWEICLOUD_SDK_AK", "key")
				t.Setenv("HUAWEICLOUD_SDK_SK", "secret")
			}
			c.o.InstanceID = "instance"
			e := platform(c.o)
			id := addTask(t, e, 3)
			from := c.from
			if from == nil {
				from = login(t, e.IAM(), nil)
			}
			client := client(t, e, func(o *iotdaclient.Options) { o.Credentials, o.InstanceID = from, "instance" })
			n := 0
			_, err := client.EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(iotda.Task) error { n++; return nil })
			require.NoError(t, err)
			require.Equal(t, 1, n)
			page, err := client.Subtasks(t.Context(), id, iotdaclient.Query{Target: "d-0001"}, "", 0)
			require.NoError(t, err)
			require.Len(t, page.Subtasks, 1)
			answer, e2 := client.RetryTask(t.Context(), id, []string{"d-0001"}, nil)
			require.Nil(t, e2)
			require.Equal(t, iotdaclient.Accepted, answer.Targets["d-0001"].Result)
		})
	}
}

func TestARenewedTokenIsUsedAtOnce(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("old"), 0o600))
	e := platform(emulator.Options{Tokens: []string{"new"}})
	c := client(t, e, func(o *iotdaclient.Options) { o.Credentials = iotdaclient.TokenFile(token) })
	require.ErrorContains(t, list(t.Context(), c), "write a new one to auth.token.file")
	require.ErrorContains(t, list(t.Context(), c), "write a new one to auth.token.file")
	for range 3 {
		require.ErrorContains(t, list(t.Context(), c), "was refused twice within 5 minutes: write a new one to auth.token.file")
	}
	require.Len(t, e.Calls(), 2, "two refusals are enough")
	require.NoError(t, os.WriteFile(token, []byte("new"), 0o600))
	require.NoError(t, list(t.Context(), c))
	require.NoError(t, os.Remove(token))
	err := list(t.Context(), c)
	require.ErrorContains(t, err, "readable for this program")
	require.Equal(t, iotda.Class("credentials"), iotdaclient.AsError(err).Class)
}

func TestATokenThatIsReplacedWhileItsCallIsUnderWayCostsNothing(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("old"), 0o600))
	e := platform(emulator.Options{Tokens: []string{"new"}})
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, os.WriteFile(token, []byte("new"), 0o600))
		e.ServeHTTP(w, r)
	}), func(o *iotdaclient.Options) { o.Credentials = iotdaclient.TokenFile(token) })
	require.NoError(t, list(t.Context(), c))
	require.Len(t, e.Calls(), 2)
}

func TestSecretsAreNotPrinted(t *testing.T) {
	for _, s := range []iotdaclient.Source{
		iotdaclient.Key{AccessKey: "key", SecretKey: "s3cret", SecurityToken: "s3cret"}, iotdaclient.Token("s3cret"),
	} {
		c, err := s.Credential(t.Context())
		require.NoError(t, err)
		o := iotdaclient.Options{Credentials: s}
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %s %v %+v %#v %+v", s, s, s, s, c, c, c, o), "s3cret")
	}
}

func TestAReplyThatEchoesTheTokenDoesNotShowIt(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("<p>" + r.Header.Get("X-Auth-Token")))
	})
	err := list(t.Context(), client(t, echo, func(o *iotdaclient.Options) { o.Credentials = iotdaclient.Token(strings.Repeat("s3cret", 100)) }))
	require.ErrorContains(t, err, "HTTP 403")
	require.NotContains(t, err.Error(), "s3cret")
}
