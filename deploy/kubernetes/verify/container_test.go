package verify

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// container is the image as it runs: its files read-only, as its user, with its environment and nothing of
// this machine but the network. There is no runtime here: this does with the kernel what one would do.
type container struct {
	*image
	data     string            // is mounted on /var/lib/retryd
	readOnly bool              // data
	full     bool              // data is a disk without room
	mounts   map[string]string // more folders, by where they are in it
	env      []string
}

// mount sets the folders up, in names of its own for mounts, and becomes the program.
const mount = `set -e
tree=$1 data=$2 how=$3; shift 3
mount --bind "$tree" "$tree"
case $how in
full) mount -t tmpfs -o nr_inodes=1,uid=65532,gid=65532,mode=0700 none "$tree/var/lib/retryd" ;;
*) mount --bind "$data" "$tree/var/lib/retryd" ;;
esac
while [ "$1" != -- ]; do mount --bind "$1" "$tree$2"; mount -o remount,bind,ro "$tree$2"; shift 2; done; shift
mount -o remount,bind,ro "$tree"
if [ "$how" = ro ]; then mount -o remount,bind,ro "$tree/var/lib/retryd"; fi
exec env -i "$@"
`

func theContainer(t *testing.T) *container {
	t.Helper()
	i := theImage(t)
	if text, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("unshare -m does not work here, which needs CAP_SYS_ADMIN: %s", text)
	}
	c := &container{image: i, data: folderOf(t, 65532), mounts: map[string]string{}}
	return c
}

func folderOf(t *testing.T, uid int) string {
	t.Helper()
	folder, err := os.MkdirTemp(scratch, "data-")
	require.NoError(t, err)
	require.NoError(t, os.Chown(folder, uid, uid))
	return folder
}

// configure mounts a folder with a configuration on /etc/retryd.
func (c *container) configure(t *testing.T, files map[string]string) {
	t.Helper()
	folder := folderOf(t, 0)
	require.NoError(t, os.Chmod(folder, 0o755))
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644))
	}
	c.mounts["/etc/retryd"] = folder
}

func (c *container) command(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	how := "rw"
	switch {
	case c.full:
		how = "full"
	case c.readOnly:
		how = "ro"
	}
	all := []string{"-m", "--", "/bin/sh", "-c", mount, "sh", c.tree, c.data, how}
	for at, folder := range c.mounts {
		require.NoError(t, os.MkdirAll(filepath.Join(c.tree, at), 0o755)) // as a runtime does
		all = append(all, folder, at)
	}
	all = append(all, "--")
	all = append(all, c.config.Env...)
	all = append(all, c.env...)
	chroot, err := exec.LookPath("chroot")
	require.NoError(t, err)
	all = append(all, chroot, "--userspec="+c.config.User, c.tree)
	all = append(all, c.config.Entrypoint...)
	cmd := exec.CommandContext(ctx, "unshare", append(all, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	return cmd
}

// run gives what a command says, and its exit code.
func (c *container) run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	text, err := c.command(ctx, t, args...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(text), exit.ExitCode()
	}
	require.NoError(t, err)
	return string(text), 0
}

// start runs the daemon until the test ends, or until it is told to stop: once, since a second SIGTERM
// ends it in the middle of stopping.
func (c *container) start(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	var said bytes.Buffer
	cmd := c.command(context.Background(), t, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("%v: %s", err, said.String())
		}
	})
	t.Cleanup(stop)
	return stop
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

func TestTheProgramRunsWithNothingAroundIt(t *testing.T) {
	c := theContainer(t)
	text, code := c.run(t, "version")
	require.Zero(t, code, text)
	require.Contains(t, text, "linux/")
	demo := c.command(t.Context(), t, "demo", "--for", "5s")
	said, err := demo.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Contains(t, string(said), "recovered")
	t.Logf("the demo, with its platform, took %d MiB at most", demo.ProcessState.SysUsage().(*syscall.Rusage).Maxrss>>10)
	left, err := os.ReadDir(c.data)
	require.NoError(t, err)
	require.Empty(t, left, "the demo leaves nothing behind")
}

// The image has no zones and no authorities but those in the program.
func TestZonesAndAuthoritiesAreInTheProgram(t *testing.T) {
	c := theContainer(t)
	fill := strings.NewReplacer("<endpoint>", "https://9bc34d7e5a.st1.iotda-app.cn-north-4.myhuaweicloud.com", "<project_id>", "0123456789abcdef0123456789abcdef")
	c.configure(t, map[string]string{"retryd.yaml": fill.Replace(string(read(t, root, "deploy/container/config/retryd.yaml"))) +
		"    time_zone: Asia/Shanghai\n    windows: [{start: \"0 1 * * *\", duration: 4h}]\n"})
	secrets := folderOf(t, 65532)
	for _, name := range []string{"access_key", "secret_key"} {
		require.NoError(t, os.WriteFile(filepath.Join(secrets, name), []byte("AKIDEXAMPLE000000000\n"), 0o444))
	}
	c.mounts["/run/secrets"] = secrets
	c.env = []string{"CREDENTIALS_DIRECTORY=/run/secrets"}
	text, code := c.run(t, "check")
	require.Zero(t, code, text)
	program := read(t, c.tree, "usr/bin/retryd")
	for _, authority := range []string{"GlobalSign Root R46", "DigiCert Global Root G2", "ISRG Root X1"} {
		require.True(t, bytes.Contains(program, []byte(authority)), authority)
	}
}

func TestTheDaemonIsHealthyAndStopsInTime(t *testing.T) {
	c := theContainer(t)
	port := freePort(t)
	c.configure(t, map[string]string{"retryd.yaml": fleetConfig(port)})
	stop := c.start(t, c.config.Cmd...)
	require.Eventually(t, func() bool {
		text, code := c.run(t, c.config.Healthcheck.Test[2:]...)
		return code == 0 && strings.Contains(text, "healthy")
	}, 20*time.Second, 100*time.Millisecond)
	text, code := c.run(t, "healthcheck", "--ready")
	require.Zero(t, code, text)
	text, code = c.run(t, "pause", "--policy", "upgrades", "--why", "by exec")
	require.Zero(t, code, text)
	text, code = c.run(t, "actions")
	require.Zero(t, code, text)
	require.Contains(t, text, "by exec")
	info, err := os.Stat(filepath.Join(c.data, "retryd.db"))
	require.NoError(t, err)
	require.EqualValues(t, 65532, info.Sys().(*syscall.Stat_t).Uid)
	require.EqualValues(t, 0o600, info.Mode())
	began := time.Now()
	stop()
	require.Less(t, time.Since(began), 10*time.Second)
}

// fleetConfig is that of a platform that is not there: everything starts, and nothing is sent.
func fleetConfig(port string) string {
	return "server: {listen: \"0.0.0.0:" + port + "\"}\n" + `connections:
  - name: prod
    endpoint: http://127.0.0.1:9
    region: cn-north-4
    project_id: 0123456789abcdef0123456789abcdef
    auth: {token: {value: none}}
policies:
  - {name: upgrades, schedule: "@daily"}
`
}

func TestAVolumeThatCannotBeWrittenIsNamedWithItsRemedy(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*container)
		says   []string
	}{
		"another owner": {func(c *container) { c.data = folderOf(t, 0) }, []string{
			"the folder /var/lib/retryd cannot be written: permission denied", "uid 65532", "chown 65532:65532 /var/lib/retryd"}},
		"read-only": {func(c *container) { c.readOnly = true }, []string{
			"the folder /var/lib/retryd cannot be written: read-only file system", "mounted read-only"}},
		"full": {func(c *container) { c.full = true }, []string{
			"the folder /var/lib/retryd cannot be written: no space left on device", "make room"}},
	} {
		t.Run(name, func(t *testing.T) {
			box := theContainer(t)
			box.configure(t, map[string]string{"retryd.yaml": fleetConfig(freePort(t))})
			c.change(box)
			text, code := box.run(t, "run")
			require.Equal(t, 1, code, text)
			for _, says := range c.says {
				require.Contains(t, text, says)
			}
		})
	}
}
