package iotdaclient_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

// noKeys takes away what the machine's own environment has.
func noKeys(t *testing.T) (profile string) {
	profile = filepath.Join(t.TempDir(), "profile")
	for _, name := range []string{"AK", "SK", "SECURITY_TOKEN", "IDP_ID", "ID_TOKEN_FILE"} {
		t.Setenv("HUAWEICLOUD_SDK_"+name, "")
	}
	t.Setenv("HC_CONTAINER_CREDENTIALS_FULL_URI", "")
	t.Setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", profile)
	return profile
}

func provider(t *testing.T, name string) *iotdaclient.Provider {
	p, err := iotdaclient.NewProvider(name, iotdaclient.SigningAuto)
	require.NoError(t, err)
	return p
}

// metadata is the machine's metadata service, as the SDK asks it: through the standard
// library's default transport, which cannot be set in another way.
type metadata struct {
	life  time.Duration // of the keys, from their issue
	body  string        // instead of keys
	hangs bool
	down  atomic.Bool
	asked atomic.Int64
	first time.Time
}

func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "PUT /meta-data/latest/api/token":
		_, _ = w.Write([]byte("session"))
	case "GET /openstack/latest/securitykey":
		m.asked.Add(1)
		if m.body != "" {
			_, _ = w.Write([]byte(m.body))
			return
		}
		// New keys come when the old ones have a quarter of their life left.
		n := int(time.Since(m.first) / (m.life * 3 / 4))
		ends := m.first.Add(time.Duration(n)*m.life*3/4 + m.life)
		_, _ = fmt.Fprintf(w, `{"credential":{"access":"key%d","secret":"secret%d","securitytoken":"st","expires_at":"%s"}}`, n, n, ends.UTC().Format("2006-01-02T15:04:05.000000Z"))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (m *metadata) serve(t *testing.T) {
	m.first = time.Now()
	old := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = old })
	if m.hangs {
		http.DefaultTransport = inMemory{http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), nil}
		return
	}
	http.DefaultTransport = inMemory{m, &m.down}
}

func TestTemporaryKeysAreRenewedBeforeTheyEnd(t *testing.T) {
	noKeys(t)
	for _, name := range []string{"metadata", "chain"} {
		synctest.Test(t, func(t *testing.T) {
			m := &metadata{life: 6 * time.Hour}
			m.serve(t)
			keys := map[string]string{}
			for n := range 30 {
				keys[fmt.Sprintf("key%d", n)] = fmt.Sprintf("secret%d", n)
			}
			w := &world{e: emulator.New(emulator.Options{ProjectID: project, Keys: keys}), guards: iotdaclient.NewGuards()}
			c := w.client(t, provider(t, name), w.e)
			for begun := time.Now(); time.Since(begun) < 72*time.Hour; time.Sleep(97 * time.Second) {
				// The service is away for half an hour in each three.
				m.down.Store(time.Since(begun)%(3*time.Hour) > 150*time.Minute)
				require.NoError(t, list(t.Context(), c))
				require.Greater(t, time.Until(*w.ends.Load()), 8*time.Minute)
			}
			require.Empty(t, refusals(w.e))
			require.Less(t, m.asked.Load(), int64(20), "each key is fetched once")

			m.down.Store(true)
			time.Sleep(12 * time.Hour)
			err := list(t.Context(), c)
			require.ErrorContains(t, err, "metadata service http://169.254.169.254: no answer: connection refused")
			require.Equal(t, iotda.Class("credentials"), iotdaclient.AsError(err).Class)
			m.down.Store(false)
			time.Sleep(time.Minute)
			require.NoError(t, list(t.Context(), c))
		})
	}
}

func TestRefusedKeysStayUntilOthersAreFound(t *testing.T) {
	noKeys(t)
	synctest.Test(t, func(t *testing.T) {
		m := &metadata{life: 6 * time.Hour}
		m.serve(t)
		w := &world{e: emulator.New(emulator.Options{ProjectID: project, Keys: map[string]string{"key0": "secret0"}}), guards: iotdaclient.NewGuards()}
		var refuse atomic.Bool
		c := w.client(t, provider(t, "metadata"), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if refuse.Load() {
				rw.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.e.ServeHTTP(rw, r)
		}))
		require.NoError(t, list(t.Context(), c))
		refuse.Store(true)
		m.down.Store(true)
		require.ErrorContains(t, list(t.Context(), c), "auth.provider metadata")
		refuse.Store(false)
		require.NoError(t, list(t.Context(), c))
	})
}

func TestACallEndsWithItsContextWhileTheProviderHangs(t *testing.T) {
	noKeys(t)
	synctest.Test(t, func(t *testing.T) {
		(&metadata{hangs: true}).serve(t)
		p := provider(t, "metadata")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		_, err := p.Credential(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begun))
		time.Sleep(10 * time.Second) // the SDK's own limit ends what was left behind
		_, err = p.Credential(t.Context())
		require.ErrorContains(t, err, "no answer in time")
	})
}

func TestAMetadataServiceThatTalksNonsenseIsAnErrorWithoutSecrets(t *testing.T) {
	noKeys(t)
	for _, body := range []string{`{}`, `<html>s3cret`, `{"credential":{"access":"a","secret":"s3cret","expires_at":7}}`, `{"credential":"s3cret"}`} {
		synctest.Test(t, func(t *testing.T) {
			(&metadata{body: body}).serve(t)
			_, err := provider(t, "metadata").Credential(t.Context())
			require.ErrorContains(t, err, "the answer was not understood")
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestAChangedProfileIsUsedWithinAMinute(t *testing.T) {
	profile := noKeys(t)
	write := func(text string) { require.NoError(t, os.WriteFile(profile, []byte(text), 0o600)) }
	for _, name := range []string{"profile", "chain"} {
		synctest.Test(t, func(t *testing.T) {
			write("[basic]\nak = key\nsk = secret\n")
			w := newWorld(emulator.Options{Signing: "derived"})
			c := w.client(t, provider(t, name), w.e)
			require.NoError(t, list(t.Context(), c))
			for _, broken := range []string{"", "[basic]\nsk s3cret\n", "[basic]\nak = key\n"} {
				write(broken)
				time.Sleep(2 * time.Minute)
				require.NoError(t, list(t.Context(), c), "the old ones go on being used")
			}
			write("[basic]\nak = other\nsk = s3cret\n")
			time.Sleep(2 * time.Minute)
			err := list(t.Context(), c)
			require.ErrorContains(t, err, "auth.provider "+name)
			require.NotContains(t, err.Error(), "s3cret")
			require.Len(t, refusals(w.e), 1)
			write("[basic]\nak = key\nsk = secret\n")
			require.NoError(t, list(t.Context(), c), "a refusal has the file read again")
			require.Len(t, refusals(w.e), 2)
		})
	}
}

func TestWhereNothingIsFoundTheErrorSaysWhereAndWhatToSet(t *testing.T) {
	profile := noKeys(t)
	synctest.Test(t, func(t *testing.T) {
		m := &metadata{}
		m.down.Store(true)
		m.serve(t)
		for name, want := range map[string][]string{
			"env":      {"environment: HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not both set", "set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK in this program's environment"},
			"profile":  {"profile " + profile + ": does not exist", "write ak and sk under [basic]"},
			"metadata": {"metadata service http://169.254.169.254: no answer", "give this machine an agency"},
			"chain":    {"environment: HUAWEICLOUD_SDK_AK", "profile " + profile, "metadata service", "pod identity: HC_CONTAINER_CREDENTIALS_FULL_URI is not set", "or give this machine an agency"},
		} {
			w := newWorld(emulator.Options{})
			err := list(t.Context(), w.client(t, provider(t, name), w.e))
			for _, text := range append(want, `connection "prod": ListBatchTasks: no credentials found; `, "or set auth.aksk, auth.token or auth.iam") {
				require.ErrorContains(t, err, text)
			}
			require.Equal(t, iotda.Class("credentials"), iotdaclient.AsError(err).Class)
			require.Empty(t, w.e.Calls())
		}
	})
	for text, want := range map[string]string{"[basic]\nsk s3cret": "is not a profile in INI form", "[other]\nsk = s3cret": "has no ak and sk under [basic]"} {
		require.NoError(t, os.WriteFile(profile, []byte(text), 0o600))
		_, err := provider(t, "profile").Credential(t.Context())
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "s3cret")
	}
	_, err := iotdaclient.NewProvider("wallet", iotdaclient.SigningAuto)
	require.ErrorContains(t, err, "there are env, profile, metadata and chain")
}

func TestAnIdentityProvidersTokenIsExchangedForKeysThatAreRenewed(t *testing.T) {
	noKeys(t)
	token := filepath.Join(t.TempDir(), "id-token")
	require.NoError(t, os.WriteFile(token, []byte("s3cret"), 0o600))
	t.Setenv("HUAWEICLOUD_SDK_IDP_ID", "idp")
	t.Setenv("HUAWEICLOUD_SDK_ID_TOKEN_FILE", token)
	synctest.Test(t, func(t *testing.T) {
		exchanged := 0
		iam := http.NewServeMux()
		iam.HandleFunc("POST iam.myhuaweicloud.com/v3.0/OS-AUTH/id-token/tokens", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Subject-Token", "unscoped")
			w.Header().Set("X-Request-Id", "1")
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"token":{"expires_at":"2000-01-02T00:00:00.000000Z"}}`))
		})
		iam.HandleFunc("POST iam.myhuaweicloud.com/v3.0/OS-CREDENTIAL/securitytokens", func(w http.ResponseWriter, _ *http.Request) {
			exchanged++
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprintf(w, `{"credential":{"access":"key","secret":"secret","securitytoken":"st","expires_at":"%s"}}`, time.Now().Add(6*time.Hour).UTC().Format(time.RFC3339))
		})
		old := http.DefaultTransport
		http.DefaultTransport = inMemory{iam, nil}
		defer func() { http.DefaultTransport = old }()
		w := newWorld(emulator.Options{})
		c := w.client(t, provider(t, "env"), w.e)
		for begun := time.Now(); time.Since(begun) < 24*time.Hour; time.Sleep(5 * time.Minute) {
			require.NoError(t, list(t.Context(), c))
			require.Greater(t, time.Until(*w.ends.Load()), 30*time.Minute)
		}
		require.Equal(t, 5, exchanged)

		http.DefaultTransport = inMemory{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error_msg":"the id token ended","error_code":"IAM.1"}`))
		}), nil}
		time.Sleep(12 * time.Hour)
		err := list(t.Context(), c)
		require.ErrorContains(t, err, "environment: HTTP 401 the id token ended")
		require.NotContains(t, err.Error(), "s3cret")
	})
}
