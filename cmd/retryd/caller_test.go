package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
)

var quiet = config.Log{Level: "error", Format: "console"}

// configOf reads a configuration with a connection and a policy; more comes before them.
func configOf(t *testing.T, more string) *config.Config {
	c, err := config.Parse(filepath.Join(t.TempDir(), "retryd.yaml"), []byte(more+sample("127.0.0.1:1")), env)
	require.NoError(t, err)
	return c
}

// siteOf is what a web configuration asks that knows ann and bob, of whom ann may act.
func siteOf(t *testing.T, password string) config.Web {
	path := filepath.Join(t.TempDir(), "web.yaml")
	replace(t, path, userAnn(t, password)+"  bob: "+bcryptOf(t, "bobs")+"\n")
	return config.Web{Path: path, Users: []string{"ann", "bob"}, Admins: []string{"ann", "robot.example", "spiffe://x/robot"}}
}

func TestWhoMayAct(t *testing.T) {
	t.Parallel()
	d := newDoor(siteOf(t, annsPassword))
	shown := func(cert *x509.Certificate) func(*http.Request) {
		return func(r *http.Request) {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
		}
	}
	user := func(name, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(name, password) }
	}
	uri, err := url.Parse("spiffe://x/robot")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		as      func(*http.Request)
		who     string
		refused string
	}{
		"admin":                      {user("ann", annsPassword), "ann", ""},
		"admin's name, another word": {user("ann", wrongAnswer), "", "name yourself in server.admins and in server.web_config"},
		"another user":               {user("bob", "bobs"), "bob", "bob may look here, and not act: name yourself in server.admins"},
		"nobody":                     {func(*http.Request) {}, "", "nobody may act here without saying who they are"},
		"certificate by DNS name":    {shown(&x509.Certificate{DNSNames: []string{"robot.example"}}), "robot.example", ""},
		"by common name":             {shown(&x509.Certificate{Subject: pkix.Name{CommonName: "robot.example"}}), "robot.example", ""},
		"by URI":                     {shown(&x509.Certificate{URIs: []*url.URL{uri}}), "spiffe://x/robot", ""},
		"another certificate":        {shown(&x509.Certificate{DNSNames: []string{"eve.example"}}), "eve.example", "may look here, and not act"},
		"unverified certificate": {func(r *http.Request) {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{DNSNames: []string{"robot.example"}}}}
		}, "", "nobody may act here"},
		"headers of a socket": {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "socket"); r.RemoteAddr = "root@here" }, "", "nobody may act here"},
	} {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:9464/api/v1/pauses", nil)
		r.RemoteAddr = "127.0.0.1:4000"
		c.as(r)
		by := d.caller(r)
		require.Equal(t, c.who, by.Name, name)
		require.NotEqual(t, "socket", by.From, name)
		if c.refused == "" {
			require.Empty(t, by.Refused, name)
		} else {
			require.Contains(t, by.Refused, c.refused, name)
		}
	}
}

func TestAnAdminActsOverHTTPAndNobodyElseDoes(t *testing.T) {
	t.Parallel()
	s := newSite(t, withTLS+userAnn(t, annsPassword)+"  bob: "+bcryptOf(t, newPassword)+"\n")
	text := string(must(os.ReadFile(s.file)))
	replace(t, s.file, strings.Replace(text, "web_config: web.yaml", "web_config: web.yaml, admins: [ann]", 1))
	url := "--url=https://localhost:" + strings.Split(s.address, ":")[1] + " --ca-file=" + s.ca.file
	pause := func(by string) (int, string) { return s.retryd("pause --all --why=test", url, by) }

	bob := "--user=bob --password-file=" + filepath.Join(s.folder, "next")
	code, said := pause(s.ann("right"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, said, "ann may look here, and not act: name yourself in server.admins", "she is named in the file, which is not in force")
	s.done("reload", s.ann("right"))
	code, said = pause(bob)
	require.Equal(t, exitFailed, code)
	require.Contains(t, said, "bob may look here, and not act")
	code, said = pause("")
	require.Equal(t, exitFailed, code)
	require.Contains(t, said, "asks who you are")
	require.Contains(t, s.done("actions --what=pause --format=csv", url, bob), "id,at,who,from,", "he may look")
	require.NotContains(t, s.done("actions --what=pause --format=csv", url, bob), "test")
	code, said = pause(s.ann("right"))
	require.Equal(t, exitDone, code, said)
	require.Regexp(t, `(?m)^\d+,[^,]+,ann,127.0.0.1,pause,all,test`, s.done("actions --what=pause --format=csv", url, bob))
	s.end()
}

// TestARequestOfAnotherSiteChangesNothing holds for the API, whoever is asked who they are.
func TestARequestOfAnotherSiteChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, withTLS+userAnn(t, annsPassword))
	replace(t, s.file, strings.Replace(string(must(os.ReadFile(s.file))), "web_config: web.yaml", "web_config: web.yaml, admins: [ann]", 1))
	s.done("reload", s.ann("right"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v1/pauses", strings.NewReader(`{"all": true, "why": "evil"}`))
	require.NoError(t, err)
	req.SetBasicAuth("ann", annsPassword) // which her browser would send
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", "https://evil.example")
	resp, err := s.client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	require.NotContains(t, s.done("actions --format=csv", s.ann("right")), "evil")
	s.end()
}
