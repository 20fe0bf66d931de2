package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
)

const elsewhere = `
connections:
  - {name: prod, endpoint: "https://9bc34d7e5a.st1.iotda-app.cn-north-4.myhuaweicloud.com", project_id: 0123456789abcdef0123456789abcdef,
     auth: {aksk: {access_key: a, secret_key: b}}}
policies:
  - {name: nightly, schedule: "@daily"}
`

func nothingSet(string) (string, bool) { return "", false }

func TestWhereADaemonIsCanBeReadWhateverElseIsWrong(t *testing.T) {
	const here = "server: {listen: \"127.0.0.1:9000\", socket: /run/retryd/r.sock}\nstore: {url: \"sqlite:/var/lib/r.db\"}\n"
	for name, text := range map[string]string{
		"nothing is wrong":            here + elsewhere,
		"an unknown key":              here + elsewhere + "retrys: 3\n",
		"an unknown key of server":    "server: {listen: \"127.0.0.1:9000\", socket: /run/retryd/r.sock, colour: red}\nstore: {url: \"sqlite:/var/lib/r.db\"}\n" + elsewhere,
		"a variable":                  here + "connections: [{name: x, project_id: \"${NOBODY}\"}]\n",
		"no policies":                 here,
		"no YAML behind":              here + "connections:\n  - {name: [\n",
		"no YAML before":              "policies:\n  - name: \"x\n" + here,
		"a tab":                       here + "policies:\n\t- x\n",
		"no YAML in server":           "server:\n  listen: 127.0.0.1:9000\n  admins: [ann\n  socket: /run/retryd/r.sock\nstore:\n  url: sqlite:/var/lib/r.db\n",
		"a word at the margin":        here + "policies\n",
		"a bare variable in brackets": here + "connections: [{name: ${X}}]\n",
	} {
		file := filepath.Join(t.TempDir(), "retryd.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		c, broken := config.Whereabouts([]string{file}, nothingSet)
		require.Equal(t, name == "nothing is wrong", broken == nil, "%s: %v", name, broken)
		require.NotNil(t, c, name)
		require.Equal(t, "127.0.0.1:9000", c.Server.Listen, name)
		require.Equal(t, "/run/retryd/r.sock", c.Server.Socket, name)
		require.Equal(t, "/var/lib/r.db", c.Store.Path, name)
	}
}

func TestWhatIsWrongWithWhereADaemonIsIsNotGuessed(t *testing.T) {
	for text, want := range map[string]config.Server{
		"server: {listen: \"${NOBODY}\", socket: /r.sock}\n":                               {Socket: "/r.sock"},
		"server: {listen: nowhere, socket: /r.sock}\n":                                     {Socket: "/r.sock"},
		"server: {listen: \"127.0.0.1:9000\", socket: \"${NOBODY}\"}\n":                    {Listen: "127.0.0.1:9000"},
		"server: {listen: \"127.0.0.1:9000\", socket: /r.sock, web_config: nosuch.yaml}\n": {Socket: "/r.sock"},
		"server:\n  listen: \"127\n  socket: /r.sock\n":                                    {Socket: "/r.sock"},
		"server:\n": {},
	} {
		file := filepath.Join(t.TempDir(), "retryd.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		c, broken := config.Whereabouts([]string{file}, nothingSet)
		require.Error(t, broken)
		require.NotNil(t, c, text)
		require.Equal(t, want.Listen, c.Server.Listen, text)
		require.Equal(t, want.Socket, c.Server.Socket, text)
		require.Equal(t, "retryd.db", filepath.Base(c.Store.Path), "the default: %s", text)
	}
	for _, text := range []string{"store: {url: \"${NOBODY}\"}\n", "store: {url_file: nosuch}\n", "store: {url: \"sqlite:x\n", "store:\n"} {
		file := filepath.Join(t.TempDir(), "retryd.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		c, _ := config.Whereabouts([]string{file}, nothingSet)
		require.NotNil(t, c, text)
		require.Zero(t, c.Store, text)
		require.Equal(t, "127.0.0.1:9464", c.Server.Listen, text)
	}
}

func TestOfAFileThatSaysNothingNothingIsKnown(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{"empty": "", "brace": "{{\n", "text": "hello\n"} {
		file := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		c, broken := config.Whereabouts([]string{file}, nothingSet)
		require.Error(t, broken)
		require.Nil(t, c, name)
	}
	c, broken := config.Whereabouts([]string{filepath.Join(folder, "nosuch.yaml")}, nothingSet)
	require.ErrorIs(t, broken, os.ErrNotExist)
	require.Nil(t, c)
}

// Whoever may not read the secrets, or has not the daemon's environment, sees no mistake in the files.
func TestWhatOnlyThisShellLacksIsToldApart(t *testing.T) {
	for text, want := range map[string]bool{
		"a: {access_key: \"${NOBODY}\", secret_key: b}":       true,
		"a: {access_key_file: nosuch, secret_key_file: nope}": true,
		"a: {access_key_file: nosuch, secret: nope}":          false,
	} {
		file := filepath.Join(t.TempDir(), "retryd.yaml")
		require.NoError(t, os.WriteFile(file, []byte(`
connections:
  - {name: prod, endpoint: "https://9bc34d7e5a.st1.iotda-app.cn-north-4.myhuaweicloud.com", project_id: 0123456789abcdef0123456789abcdef, auth: {`+
			"aksk"+text[1:]+`}}
policies:
  - {name: nightly, schedule: "@daily"}
`), 0o600))
		_, broken := config.Whereabouts([]string{file}, nothingSet)
		require.Error(t, broken)
		require.Equal(t, want, config.OnlyHere(broken), broken)
	}
}
