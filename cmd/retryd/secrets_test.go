package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// The secrets of TestSecretsAppearNowhere, each of a kind of its own.
const (
	secretKey      = "SK/9f8e+7d6c=inline"
	secretFileKey  = "SK-of-a-file-51f0"
	securityToken  = "STS-token-77aa/+"
	plainToken     = "MIIP-value-token-0d3b"
	fileToken      = "MIIP-file-token-c41e"
	password       = "Pässword!-2cc9"
	wrongSecretKey = "SK-that-is-wrong-8b1d"
)

// TestSecretsAppearNowhere runs every command with every kind of credentials, through every
// fault of the platform, and looks for the secrets in all that comes out or is written.
func TestSecretsAppearNowhere(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", folder)
	e := emulator.New(emulator.Options{
		ProjectID: demoProject, Region: demoRegion, Upgrade: 50 * time.Millisecond, Tokens: []string{plainToken, fileToken},
		Keys:  map[string]string{"AK1": secretKey, "AK2": secretFileKey, "AK3": secretKey},
		Users: []emulator.User{{Domain: "acme", Name: "robot", Password: password}},
	})
	for i := range 6 {
		_, err := e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: []emulator.Device{
			{ID: fmt.Sprintf("d%d", i), Status: iotda.SubtaskFail, Fate: emulator.Fate{Message: "Task Conflict"}},
		}})
		require.NoError(t, err)
	}
	for name, text := range map[string]string{"sk": secretFileKey, "token": fileToken, "password": password} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text+"\n"), 0o600))
	}
	t.Setenv("THE_SK", secretKey)
	address := freeAddress(t)
	file := filepath.Join(folder, "retryd.yaml")
	text := fmt.Sprintf("server: {listen: %q}\nlog: {level: debug}\n", address) + "defaults: {connection: {region: " + demoRegion + ", project_id: " + demoProject +
		", timeout: 2s, backoff: {initial: 1ms, max: 2ms, max_elapsed: 10ms}}}\nconnections:\n"
	iam := httptest.NewServer(e.IAM())
	defer iam.Close()
	for i, auth := range []string{
		`aksk: {access_key: AK1, secret_key: "${THE_SK}"}`, `aksk: {access_key: AK2, secret_key_file: sk}`,
		`aksk: {access_key: AK3, secret_key: "` + secretKey + `", security_token: "` + securityToken + `"}`, `aksk: {access_key: AK1, secret_key: ` + wrongSecretKey + `}`,
		`token: {value: ` + plainToken + `}`, `token: {file: token}`,
		`iam: {domain: acme, user: robot, password_file: password, endpoint: "` + iam.URL + `"}`, `iam: {domain: acme, user: robot, password: "wrong-` + password + `", endpoint: "` + iam.URL + `"}`,
	} {
		server := httptest.NewServer(e) // each connection is an instance of its own
		defer server.Close()
		text += fmt.Sprintf("  - {name: c%d, endpoint: %q, auth: {%s}}\n", i, server.URL, auth)
	}
	policies := "policies:\n  - {name: p, connections: all, schedule: '@every 1s', tasks: {backlog: true}, attempts: {settle: 0s, backoff: {initial: 1ms, max: 1ms}}}\n"
	require.NoError(t, os.WriteFile(file, []byte(text+policies), 0o600))
	broken := filepath.Join(folder, "broken.yaml")
	require.NoError(t, os.WriteFile(broken, []byte(strings.ReplaceAll(text, "timeout: 2s", "timeout: never")+
		"  - {name: x, endpoint: 'http://elsewhere', auth: {aksk: {access_key: AK1, secret_key: "+secretKey+", secret_key_file: sk}, token: {value: "+plainToken+"}}}\n"+
		"  - {name: y, auth: {aksk: {access_key: ["+secretKey+"], secret_key: {"+secretKey+": "+secretKey+"}}}}\n"), 0o600))
	out := &lines{}
	command := func(args ...string) {
		fmt.Fprintf(out, "$ retryd %s\n", args)
		run(t.Context(), args, out, out)
	}
	command("check", "--print", file)
	command("check", "--format", "json", file, broken)
	command("-c", file, "check", "--print")
	command("check", broken)
	command("-c", file, "plan", "--all")
	command("-c", file, "sweep", "--new-ledger")
	command("-c", broken, "run")
	d := startDaemon(t, address, "-c", file)
	faults, calls := append(emulator.Faults(), ""), len(e.Calls())
	e.SetFault(func(c emulator.Call) emulator.Fault { return faults[c.N%len(faults)] })
	d.until("each fault several times", func() bool { return len(e.Calls()) > calls+4*len(faults) })
	e.SetFault(nil)
	_, metrics := d.ask(http.MethodGet, "/metrics")
	_, inForce := d.ask(http.MethodGet, "/api/v1/configuration")
	require.Contains(t, inForce, "[hidden]")
	command("-c", file, "check", "--connect")
	command("-c", file, "check", "--connect", "--format", "json")
	command("-c", file, "plan", "--all", "--format", "json")
	command("-c", file, "plan", "--against", "running", "--format", "csv")
	require.NoError(t, os.Rename(broken, file))
	_, refusal := d.ask(http.MethodPost, "/-/reload")
	require.Contains(t, refusal, "problem")
	fmt.Fprintln(out, metrics, inForce, refusal)
	all := out.String() + d.end()
	require.Contains(t, all, "retryd_api_requests_total")
	require.Contains(t, all, "APIGW.0301", "a wrong key was refused")
	require.NotEmpty(t, e.Logins())
	for _, pattern := range []string{"*.db", "*.db-wal", "*/*.db"} {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		require.NoError(t, err)
		for _, name := range files {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			all += string(data)
		}
	}
	require.Contains(t, all, "SQLite format 3", "the ledger is looked at too")
	for _, secret := range []string{secretKey, secretFileKey, securityToken, plainToken, fileToken, password, wrongSecretKey} {
		for _, form := range []string{
			secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)),
			base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("%q", secret), fmt.Sprintf("%x", secret),
		} {
			if i := strings.Index(all, form); i >= 0 {
				t.Errorf("a secret is shown: …%s…", strings.ToValidUTF8(all[max(0, i-300):min(len(all), i+len(form)+100)], "?"))
			}
		}
	}
}
