package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
)

const hash = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"

const (
	annsPassword = "basic_auth_users: {ann: " + hash + "}\n"
	withTLS      = "tls_server_config:\n  cert_file: own.pem\n  key_file: own.key\n"
)

// webFolder has a certificate, own.pem with own.key, and a file that has none.
func webFolder(t *testing.T) string {
	folder := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"own.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), "own.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), "none.pem": []byte("no certificate"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	return folder
}

// served reads a configuration in a folder that has a web configuration.
func served(t *testing.T, folder, listen, web string) (*config.Config, error) {
	require.NoError(t, os.WriteFile(filepath.Join(folder, "web.yaml"), []byte(web), 0o600))
	return config.Parse(filepath.Join(folder, "retryd.yaml"), fmt.Appendf(nil, "server: {listen: %q, web_config: web.yaml}\n%s", listen, smallest), env("AK", "a", "SK", "s"))
}

func TestAWebConfigurationIsReadForWhatItAsks(t *testing.T) {
	folder := webFolder(t)
	for _, c := range []struct {
		web                     string
		tls, asks, certificates bool
		users                   []string
	}{
		{annsPassword, false, true, false, []string{"ann"}},
		{"basic_auth_users: {eve: " + hash + ", bob: " + hash + "}\n", false, true, false, []string{"bob", "eve"}},
		{withTLS, true, false, false, nil},
		{withTLS + annsPassword, true, true, false, []string{"ann"}},
		{withTLS + "  client_ca_file: own.pem\n  client_auth_type: RequireAndVerifyClientCert\n", true, true, true, nil},
		{withTLS + "  client_ca_file: own.pem\n  client_auth_type: VerifyClientCertIfGiven\n", true, false, false, nil},
		{withTLS + "  client_auth_type: RequireAnyClientCert\n", true, false, false, nil},
	} {
		cfg, err := served(t, folder, "127.0.0.1:9464", c.web)
		require.NoError(t, err, c.web)
		require.Empty(t, cfg.Warnings)
		have := cfg.Server.Web
		require.Equal(t, filepath.Join(folder, "web.yaml"), have.Path)
		require.Equal(t, []any{c.tls, c.asks, c.certificates, c.users}, []any{have.TLS, have.Authenticates(), have.ClientCerts, have.Users}, c.web)
		require.Equal(t, c.tls, len(have.Certificate) > 0)
	}
}

func TestAListenerForTheNetworkWarnsOfWhatItLacks(t *testing.T) {
	folder := webFolder(t)
	for web, warning := range map[string]string{
		withTLS:                "whoever reaches 0.0.0.0:9464 can see what retryd does, and have it reload: web_config can ask for a password or a client certificate",
		annsPassword:           "passwords cross the network to 0.0.0.0:9464 for all to read: tls_server_config in web_config encrypts them",
		withTLS + annsPassword: "",
		withTLS + "  client_ca_file: own.pem\n  client_auth_type: RequireAndVerifyClientCert\n": "",
		withTLS + "  client_ca_file: own.pem\n  client_auth_type: VerifyClientCertIfGiven\n":    "whoever reaches",
	} {
		cfg, err := served(t, folder, "0.0.0.0:9464", web)
		require.NoError(t, err, web)
		if warning == "" {
			require.Empty(t, cfg.Warnings, web)
			continue
		}
		require.Len(t, cfg.Warnings, 1, web)
		require.Contains(t, cfg.Warnings[0].String(), "retryd.yaml:1:18: ")
		require.Contains(t, cfg.Warnings[0].Message, warning)
	}
}

func TestAWebConfigurationThatOpensTheDoorToEverybodyOrNobodyIsRefused(t *testing.T) {
	folder := webFolder(t)
	for web, problem := range map[string]string{
		withTLS + "  client_auth_type: RequireAndVerifyClientCert\n":                                                "web.yaml:4:21: client_ca_file is missing: without it a certificate of any authority that this machine trusts opens the door",
		withTLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: none.pem\n":                    "web.yaml:5:19: there is no certificate in client_ca_file: nobody could come in",
		withTLS + "  client_ca_file: own.pem\n":                                                                     "web.yaml:4:19: client CA's have been configured without a Client Auth Policy",
		withTLS + "  client_auth_type: Sometimes\n":                                                                 "web.yaml:4:21: invalid ClientAuth: Sometimes",
		withTLS + "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: lost.pem\n":                       "web.yaml:5:19: open " + folder + "/lost.pem: no such file or directory",
		"tls_server_config:\n  cert_file: own.pem\n  key_file: own.pem\n":                                           "web.yaml:2:14: failed to load X509KeyPair: tls: found a certificate rather than a key in the PEM for the private key",
		withTLS + "  min_version: TLS99\n":                                                                          "web.yaml:4:16: unknown TLS version: TLS99",
		"rate_limit: {burst: 1, interval: 1s}\n":                                                                    "retryd.yaml:1:48: web_config asks for neither TLS nor passwords",
		"basic_auth_users: {ann: " + hash + "}\nhttp_server_config: {headers: {X-Frame-Options: very-secret-no}}\n": "web.yaml:2:31: invalid value for X-Frame-Options",
	} {
		_, err := served(t, folder, "127.0.0.1:9464", web)
		require.ErrorContains(t, err, problem, web)
	}
}

func TestWhatTheToolkitReadsOnlyOnceTakesARestart(t *testing.T) {
	folder := webFolder(t)
	running, err := served(t, folder, "127.0.0.1:9464", withTLS+annsPassword)
	require.NoError(t, err)
	for web, restart := range map[string]bool{
		withTLS + annsPassword: false, withTLS: false, withTLS + "  min_version: TLS13\n" + annsPassword: false,
		annsPassword: true, withTLS + annsPassword + "rate_limit: {burst: 1, interval: 1s}\n": true, withTLS + annsPassword + "http_server_config: {http2: false}\n": true,
	} {
		next, err := served(t, folder, "127.0.0.1:9464", web)
		require.NoError(t, err)
		problems := next.NeedRestart(running)
		require.Equal(t, restart, len(problems) > 0, "%s: %s", web, problems)
		require.Equal(t, web != withTLS+annsPassword, next.Hash != running.Hash, "--auto-reload notices it")
	}
}

func TestVisitorsAreThoseOfTheFileAsItIsNow(t *testing.T) {
	folder := webFolder(t)
	c, err := served(t, folder, "127.0.0.1:9464", "users: &users\n  ann: "+hash+"\n")
	require.ErrorContains(t, err, `web.yaml:1:1: unknown key "users"`)
	require.Nil(t, c)
	c, err = served(t, folder, "127.0.0.1:9464", annsPassword)
	require.NoError(t, err)
	now, err := c.Server.Web.Visitors()
	require.NoError(t, err)
	require.Equal(t, hash, now.Users["ann"].Reveal())
	require.NotContains(t, fmt.Sprintf("%v %+v", now, c.Server), hash)
	for _, text := range []string{"basic_auth_users: secret-in-file\n", "a: [\n"} {
		require.NoError(t, os.WriteFile(c.Server.Web.Path, []byte(text), 0o600))
		_, err = c.Server.Web.Visitors()
		require.ErrorContains(t, err, "cannot be understood")
		require.NotContains(t, err.Error(), "secret")
	}
	require.NoError(t, os.Remove(c.Server.Web.Path))
	_, err = c.Server.Web.Visitors()
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAdminsAreThoseWhoCanShowWhoTheyAre(t *testing.T) {
	folder := webFolder(t)
	verified := withTLS + "  client_ca_file: own.pem\n  client_auth_type: VerifyClientCertIfGiven\n"
	for _, c := range []struct{ web, admins, warning string }{
		{annsPassword, "[ann]", ""},
		{annsPassword, "[ann, bob]", `retryd.yaml:1:72: web_config knows no "bob": a user of basic_auth_users, or a name in a client certificate`},
		{withTLS, "[ann]", `knows no "ann"`},
		{verified, "[anybody.example]", ""},
		{verified + "  client_allowed_sans: [ann.example]\n", "[ann.example]", ""},
		{verified + "  client_allowed_sans: [ann.example]\n", "[bob.example]", `knows no "bob.example"`},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "web.yaml"), []byte(c.web), 0o600))
		cfg, err := config.Parse(filepath.Join(folder, "retryd.yaml"), fmt.Appendf(nil, "server: {listen: \"127.0.0.1:9464\", web_config: web.yaml, admins: %s}\n%s", c.admins, smallest), env("AK", "a", "SK", "s"))
		require.NoError(t, err)
		require.Equal(t, c.admins, "["+strings.Join(cfg.Server.Web.Admins, ", ")+"]")
		if c.warning == "" {
			require.Empty(t, cfg.Warnings, c.web)
			continue
		}
		require.Len(t, cfg.Warnings, 1, c.web)
		require.Contains(t, cfg.Warnings[0].String(), c.warning)
	}
}
