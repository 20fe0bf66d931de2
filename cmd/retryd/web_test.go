package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
)

// The passwords of these tests, for looking for them in what comes out.
const (
	annsPassword = "ann's-Passw0rd-3f1a"
	newPassword  = "ann's-next-Passw0rd-77c0"
	wrongAnswer  = "not-her-Passw0rd-9b2d"
	shortWord    = "Pw-51d0" // which the YAML library would quote whole
)

// site is a daemon with a web configuration, and what it is made from.
type site struct {
	*daemon
	t                          *testing.T
	folder, address, file, web string
	ca                         *authority
}

const withTLS = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"

func userAnn(t *testing.T, password string) string {
	return fmt.Sprintf("basic_auth_users:\n  ann: %s\n", bcryptOf(t, password))
}

// newSite starts a daemon in this process, with files of passwords beside its configuration.
func newSite(t *testing.T, web string, flags ...string) *site {
	e := newEmulator(emulator.Options{})
	_, err := e.AddScene(20, time.Now())
	require.NoError(t, err)
	platform := httptest.NewServer(e)
	t.Cleanup(platform.Close)
	s := &site{t: t, folder: t.TempDir(), address: freeAddress(t)}
	s.file, s.web = filepath.Join(s.folder, "retryd.yaml"), filepath.Join(s.folder, "web.yaml")
	s.ca = newAuthority(t, s.folder, "ca")
	s.ca.issue("server", "localhost")
	s.ca.issue("client", "prometheus.example")
	for name, text := range map[string]string{"right": annsPassword + "\n", "next": newPassword, "wrong": wrongAnswer} {
		require.NoError(t, os.WriteFile(filepath.Join(s.folder, name), []byte(text), 0o600))
	}
	replace(t, s.web, web)
	replace(t, s.file, fmt.Sprintf("server: {listen: %q, web_config: web.yaml}\n", s.address)+sample(strings.TrimPrefix(platform.URL, "http://")))
	ctx, stop := context.WithCancel(context.Background())
	s.daemon = &daemon{t: t, url: "https://" + s.address, out: &lines{}, stop: stop, stopped: make(chan int, 1)}
	go func() { s.stopped <- run(ctx, append([]string{"-c", s.file, "run"}, flags...), s.out, s.out) }()
	s.until("the daemon answers", func() bool {
		code, _ := s.retryd("healthcheck", s.ann("right"), s.certificate("client"), "--ready")
		return code == exitDone
	})
	return s
}

func (s *site) ann(passwordFile string) string {
	return "--user=ann --password-file=" + filepath.Join(s.folder, passwordFile)
}

func (s *site) certificate(name string) string {
	return "--cert-file=" + filepath.Join(s.folder, name+".pem") + " --key-file=" + filepath.Join(s.folder, name+".key")
}

// retryd runs a command with the daemon's configuration.
func (s *site) retryd(args ...string) (code int, text string) {
	var out bytes.Buffer
	code = run(s.t.Context(), strings.Fields("-c "+s.file+" "+strings.Join(args, " ")), &out, &out)
	return code, out.String()
}

// refused runs a command that fails, and gives what it says.
func (s *site) refused(args ...string) string {
	code, text := s.retryd(args...)
	require.Equal(s.t, exitFailed, code, "%s: %s", args, text)
	return text
}

// done runs a command that succeeds.
func (s *site) done(args ...string) string {
	code, text := s.retryd(args...)
	require.Equal(s.t, exitDone, code, "%s: %s", args, text)
	return text
}

// client trusts the site's authority and makes a connection for each request.
func (s *site) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.cert)
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}}}
}

func (s *site) get(c *http.Client, method, path, user, password string) (status int, text string) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	require.NoError(s.t, err)
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, string(body)
}

// shown gives the serial number of the certificate that a new connection is shown.
func (s *site) shown() string {
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(s.t.Context(), "tcp", s.address)
	require.NoError(s.t, err)
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// everything is all that is served, and something that is not.
var everything = []string{"GET /", "GET /metrics", "GET /-/healthy", "GET /-/ready", "POST /-/reload", "POST /-/reload?drop_pauses=true", "GET /other", "PUT /metrics", "GET /tasks", "GET /api/v1/status", "GET /api/v1/configuration", "POST /api/v1/pauses", "DELETE /api/v1/pauses"}

func TestNothingIsOpenWithoutThePassword(t *testing.T) {
	t.Parallel()
	s := newSite(t, withTLS+userAnn(t, annsPassword))
	for _, request := range everything {
		method, path, _ := strings.Cut(request, " ")
		for _, who := range [][2]string{{}, {"ann", wrongAnswer}, {"ann", ""}, {"bob", annsPassword}, {"Ann", annsPassword}} {
			status, text := s.get(s.client(), method, path, who[0], who[1])
			require.Equal(t, http.StatusUnauthorized, status, "%s by %q: %s", request, who, text)
		}
	}
	status, text := s.get(s.client(), http.MethodGet, "/metrics", "ann", annsPassword)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, text, "retryd_config_info")
	s.end()
}

func TestCommandsReachADaemonWithTLSAndPasswords(t *testing.T) {
	s := newSite(t, withTLS+userAnn(t, annsPassword))
	elsewhere := "--url=https://localhost:" + strings.Split(s.address, ":")[1]

	require.Equal(t, "healthy\n", s.done("healthcheck", s.ann("right")), "the certificate is the one that the configuration names")
	require.Contains(t, s.done("reload", s.ann("right")), "is in force")
	require.Contains(t, s.done("healthcheck --ready", elsewhere, "--ca-file="+s.ca.file, s.ann("right")), "ready\n")
	t.Setenv("RETRYD_USER", "ann")
	t.Setenv("RETRYD_PASSWORD", annsPassword)
	require.Equal(t, "healthy\n", s.done("healthcheck"))
	t.Setenv("RETRYD_PASSWORD", wrongAnswer)
	said := s.refused("healthcheck")
	require.Contains(t, said, "does not let ann in: the password is wrong, or basic_auth_users of its web_config has no such user")
	said += s.refused("healthcheck", s.ann("wrong"))
	t.Setenv("RETRYD_USER", "")
	require.Contains(t, s.refused("healthcheck"), "asks who you are: set --user (or $RETRYD_USER) and --password-file (or $RETRYD_PASSWORD)")
	t.Setenv("RETRYD_USER", "ann")
	said += s.refused("healthcheck", elsewhere, s.ann("right"))
	require.Contains(t, said, "is not trusted")
	said += s.refused("healthcheck", "--url=https://"+s.address, "--ca-file="+s.ca.file, s.ann("right"))
	require.Contains(t, said, "name its authority with --ca-file, and with --url a name that is in it")
	said += s.refused("healthcheck", "--url=http://"+s.address, s.ann("right"))
	require.Contains(t, said, "Client sent an HTTP request to an HTTPS server")
	said += s.refused("reload --url=https://ann:" + wrongAnswer + "@" + s.address)
	require.Contains(t, said, "--url has a user in it")
	said += s.refused("healthcheck --url=http://retryd.example:9464", s.ann("right"))
	require.Contains(t, said, "would show the password to the network: use https")
	said += s.refused("healthcheck --url=http://[", s.ann("right")) + s.refused("healthcheck --ca-file="+s.file, s.ann("right")) + s.refused("healthcheck", s.ann("none"))
	said += s.refused("healthcheck --user= --password-file=" + s.file)
	s.ca.issue("stranger", "localhost")
	replace(t, s.file, strings.Replace(string(must(os.ReadFile(s.file))), "web.yaml", "other.yaml", 1))
	replace(t, filepath.Join(s.folder, "other.yaml"), "tls_server_config: {cert_file: stranger.pem, key_file: stranger.key}\n")
	said += s.refused("healthcheck", s.ann("right"))
	require.Contains(t, said, "the daemon shows another certificate than its web_config names")
	requireNoPassword(t, said+s.end())
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func requireNoPassword(t *testing.T, text string) {
	for _, secret := range []string{annsPassword, newPassword, wrongAnswer, shortWord, "$2a$"} {
		require.NotContains(t, text, secret)
	}
}

func TestARenewedCertificateAndAChangedPasswordHoldFromTheNextConnectionOn(t *testing.T) {
	t.Parallel()
	s := newSite(t, withTLS+userAnn(t, annsPassword))
	first := s.shown()
	s.ca.issue("server", "localhost")
	require.NotEqual(t, first, s.shown(), "nothing was reloaded or restarted")
	require.Equal(t, "healthy\n", s.done("healthcheck", s.ann("right")))

	replace(t, s.web, withTLS+userAnn(t, newPassword))
	require.Contains(t, s.refused("healthcheck", s.ann("right")), "does not let ann in")
	require.Equal(t, "healthy\n", s.done("healthcheck", s.ann("next")))
	require.Contains(t, s.done("reload", s.ann("next")), "is in force")
	requireNoPassword(t, s.end())
}

func TestABrokenWebConfigurationLetsNobodyInAndIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	s := newSite(t, userAnn(t, annsPassword))
	s.url = "http://" + s.address
	for _, broken := range []string{
		"", "# nothing yet\n", "basic_auth_users: {}\n", "basic_auth_users: " + shortWord + "\n", "basic_auth_users:\n  ann: " + wrongAnswer + "\n", "basic_auth_users:\n  ann: [\n",
		"basic_auth_users:\n  bob: " + bcryptOf(t, annsPassword),
	} {
		replace(t, s.web, broken)
		for _, who := range [][2]string{{}, {"ann", annsPassword}, {"ann", wrongAnswer}} {
			status, text := s.get(s.client(), http.MethodGet, "/metrics", who[0], who[1])
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusInternalServerError}, status, "%q by %q: %s", broken, who, text)
		}
		if code, text := s.retryd("check"); code != exitDone {
			require.Regexp(t, `(retryd|web)\.yaml:\d+:\d+: `, text)
			requireNoPassword(t, text)
		}
	}
	replace(t, s.web, userAnn(t, annsPassword))
	require.Equal(t, "healthy\n", s.done("healthcheck", s.ann("right")), "mended, it is used at once")
	log := s.end()
	require.Contains(t, log, "Unable to parse configuration")
	require.LessOrEqual(t, strings.Count(log, "Unable to parse configuration"), 3, "whoever connects cannot fill the log")
	requireNoPassword(t, log)
}

func TestTLSCannotBeTurnedOnOrOffByAReload(t *testing.T) {
	t.Parallel()
	s := newSite(t, userAnn(t, annsPassword))
	replace(t, s.web, withTLS+userAnn(t, annsPassword))
	text := s.refused("reload --url=http://"+s.address, s.ann("right"))
	require.Contains(t, text, s.file+":1:")
	require.Contains(t, text, "TLS on or off, http2 and rate_limit in web_config cannot change while retryd runs")
	replace(t, s.file, strings.Replace(string(must(os.ReadFile(s.file))), ", web_config: web.yaml", "", 1))
	require.Contains(t, s.refused("reload", s.ann("right")), "web_config cannot change while retryd runs", "nor can passwords be turned off")
	s.end()
}

func TestPasswordsAreTurnedOffByAReloadAndNotByTheFileAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, withTLS+userAnn(t, annsPassword))
	replace(t, s.web, withTLS)
	status, text := s.get(s.client(), http.MethodPost, "/-/reload", "ann", annsPassword)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Contains(t, text, "SIGHUP reloads it")
	replace(t, s.web, withTLS+userAnn(t, annsPassword))
	s.done("reload", s.ann("right"))
	s.end()

	s = newSite(t, withTLS+userAnn(t, annsPassword), "--auto-reload", "--auto-reload-every", "100ms")
	replace(t, s.web, withTLS)
	s.until("everybody is let in", func() bool {
		status, _ := s.get(s.client(), http.MethodGet, "/metrics", "", "")
		return status == http.StatusOK
	})
	s.end()
}

func TestClientCertificatesAreAskedForAndVerified(t *testing.T) {
	t.Parallel()
	s := newSite(t, mutualTLS+"}\n")
	require.Equal(t, "healthy\n", s.done("healthcheck", s.certificate("client")))
	require.Contains(t, s.refused("healthcheck"), "where it asks for a client certificate, name one with --cert-file and --key-file")
	newAuthority(t, s.folder, "stranger").issue("forged", "prometheus.example")
	require.Contains(t, s.refused("healthcheck", s.certificate("forged")), "refuses the connection")
	require.Contains(t, s.done("reload --drop-pauses", s.certificate("client")), "is in force")
	replace(t, s.web, withTLS) // as if it was half written
	require.Contains(t, s.refused("healthcheck"), "asks who you are")
	s.end()
}

const mutualTLS = "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert"

// withSession gives a client that resumes the TLS session of its first request.
func (s *site) withSession() *http.Client {
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.folder, "client.pem"), filepath.Join(s.folder, "client.key"))
	require.NoError(s.t, err)
	c := s.client()
	trust := c.Transport.(*http.Transport).TLSClientConfig
	trust.Certificates, trust.ClientSessionCache = []tls.Certificate{pair}, tls.NewLRUClientSessionCache(5)
	for range 2 {
		status, text := s.get(c, http.MethodGet, "/-/healthy", "", "")
		require.Equal(s.t, http.StatusOK, status, text)
	}
	return c
}

func TestAnOldSessionLetsNobodyInWhomTheConfigurationHasShutOut(t *testing.T) {
	t.Parallel()
	t.Run("authority", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, mutualTLS+"}\n")
		c := s.withSession()
		newAuthority(t, s.folder, "ca") // in the place of the one before
		status, _ := s.get(c, http.MethodGet, "/-/healthy", "", "")
		require.NotEqual(t, http.StatusOK, status)
		s.end()
	})
	t.Run("name", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, mutualTLS+", client_allowed_sans: [prometheus.example]}\n")
		c := s.withSession()
		s.ca.issue("admin", "admin.example")
		replace(t, s.web, mutualTLS+", client_allowed_sans: [admin.example]}\n")
		s.done("reload", s.certificate("admin"))
		status, _ := s.get(c, http.MethodGet, "/-/healthy", "", "")
		require.Equal(t, http.StatusUnauthorized, status)
		s.end()
	})
}
