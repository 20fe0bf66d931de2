package systemd

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// install runs make install and gives the files by path, with their modes.
func install(t *testing.T, destination, prefix string) map[string]fs.FileMode {
	if _, err := run(t, nil, "make", "--version"); err != nil {
		t.Skip("make is not installed (Debian: apt-get install make)")
	}
	out, err := run(t, nil, "make", "-C", "../..", "build", "install", "DESTDIR="+destination, "PREFIX="+prefix)
	require.NoError(t, err, out)
	files := map[string]fs.FileMode{}
	require.NoError(t, filepath.WalkDir(destination, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		files[strings.TrimPrefix(path, destination)] = info.Mode()
		return err
	}))
	return files
}

func TestMakeInstallPutsEverythingInItsPlace(t *testing.T) {
	destination := t.TempDir()
	files := install(t, destination, "/usr")
	require.Equal(t, fs.FileMode(0o755), files["/usr/bin/retryd"])
	for _, path := range []string{
		"/etc/retryd/retryd.yaml", "/usr/lib/systemd/system/retryd.service", "/usr/lib/sysusers.d/retryd.conf", "/usr/share/man/man1/retryd.1",
		"/usr/share/bash-completion/completions/retryd", "/usr/share/zsh/site-functions/_retryd", "/usr/share/fish/vendor_completions.d/retryd.fish",
		"/usr/share/retryd/retryd.schema.json", "/usr/share/doc/retryd/README.md", "/usr/share/doc/retryd/LICENSE", "/usr/share/doc/retryd/configs/full.yaml",
		"/usr/share/doc/retryd/docs/installing-systemd.md", "/usr/share/doc/retryd/deploy/prometheus/alerts.yaml", "/usr/share/doc/retryd/deploy/grafana/fleet.json", "/usr/share/doc/retryd/deploy/systemd/older-systemd.conf",
	} {
		require.Equal(t, fs.FileMode(0o644), files[path], path)
		require.NotEmpty(t, read(t, destination+path), path)
	}
	require.Equal(t, read(t, "retryd.service"), read(t, destination+"/usr/lib/systemd/system/retryd.service"))
	require.Equal(t, read(t, "../../configs/retryd.schema.json"), read(t, destination+"/usr/share/retryd/retryd.schema.json"))

	// The configuration is whole, but for the instance and the keys of whoever installs it.
	program, file, keys := destination+"/usr/bin/retryd", destination+"/etc/retryd/retryd.yaml", t.TempDir()
	out, err := run(t, []string{"CREDENTIALS_DIRECTORY=" + keys}, program, "check", file)
	require.Error(t, err, "it is not mistaken for one that works")
	require.Contains(t, out, "retryd.access_key: no such file")
	require.Contains(t, out, "endpoint is to be filled in")
	require.Contains(t, out, "project_id is to be filled in")
	fill := strings.NewReplacer("<endpoint>", "https://9bc34d7e5a.st1.iotda-app.cn-north-4.myhuaweicloud.com", "<project_id>", "0123456789abcdef0123456789abcdef")
	require.NoError(t, os.WriteFile(file, []byte(fill.Replace(read(t, file))), 0o600))
	for _, name := range []string{"retryd.access_key", "retryd.secret_key"} {
		require.NoError(t, os.WriteFile(filepath.Join(keys, name), []byte("x\n"), 0o600))
	}
	out, err = run(t, []string{"CREDENTIALS_DIRECTORY=" + keys}, program, "check", file)
	require.NoError(t, err, out)
	require.NotContains(t, out, "warning")

	// What is yours stays.
	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o600))
	install(t, destination, "/usr")
	require.Equal(t, "mine", read(t, file))
}

func TestMakeInstallGoesByThePrefix(t *testing.T) {
	destination := t.TempDir()
	files := install(t, destination, "/usr/local")
	for path := range files {
		require.True(t, strings.HasPrefix(path, "/usr/local/") || path == "/etc/retryd/retryd.yaml", path)
	}
	u := readUnit(t, destination+"/usr/local/lib/systemd/system/retryd.service")
	require.Equal(t, "/usr/local/bin/retryd run --config /etc/retryd/retryd.yaml", u.one(t, "ExecStart"))
	require.Contains(t, read(t, destination+"/usr/local/share/doc/retryd/deploy/systemd/older-systemd.conf"), "ExecReload=/usr/local/bin/retryd reload")
	require.Contains(t, read(t, destination+"/etc/retryd/retryd.yaml"), "$schema=/usr/local/share/retryd/retryd.schema.json")
}
