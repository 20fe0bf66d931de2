package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/store"
)

// foreigner is a user who owns nothing, and is in no group of ours.
const foreigner = 65534

// nameless is a number that neither the list of users nor that of groups has.
const nameless = 1<<31 - 7

// asNobody gives what runs the real command as another user in a folder that is open to all, and the folder.
func asNobody(t *testing.T) (folder string, command func(args ...string) string) {
	if os.Getuid() != 0 {
		t.Skip("only root can try what another user may")
	}
	folder = t.TempDir()
	for _, open := range []string{filepath.Dir(folder), folder} {
		require.NoError(t, os.Chmod(open, 0o755))
	}
	self, err := os.Executable()
	require.NoError(t, err)
	program := filepath.Join(folder, "retryd") // where it was built only we may look
	if os.Link(self, program) != nil {
		data, err := os.ReadFile(self)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(program, data, 0o755))
	}
	require.NoError(t, os.Chmod(program, 0o755))
	return folder, func(args ...string) string {
		c := exec.Command(program, args...)
		c.Dir, c.Env = folder, []string{"HOME=/", "PATH=" + os.Getenv("PATH")}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: foreigner, Gid: foreigner}}
		out, err := c.CombinedOutput()
		require.ErrorAs(t, err, new(*exec.ExitError), "%s", out)
		return string(out)
	}
}

func TestWhoMayNotOpenTheSocketIsToldWhoMay(t *testing.T) {
	t.Parallel()
	folder, command := asNobody(t)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "retryd.yaml"), []byte("server: {listen: \"127.0.0.1:1\", socket: run/s}\n"+sample("127.0.0.1:1")), 0o644))
	run := filepath.Join(folder, "run")
	require.NoError(t, os.Mkdir(run, 0o755))
	path := filepath.Join(run, "s")
	s, err := listenSocket(t.Context(), path, 0o660)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	root := store.UserName(0)
	group, _ := groupName(0)
	ofUser := fmt.Sprintf("it belongs to user %s and group %s, with mode ", root, group)
	asThem := fmt.Sprintf("; run this as that user (sudo -u %s retryd …)", root)
	inGroup := fmt.Sprintf(", or have yourself put into the group (sudo usermod -aG %s NAME) and log in anew", group)

	may := "you may not open the daemon's socket " + path + ": " + ofUser + "0660" + asThem + inGroup
	require.Equal(t, "retryd: "+may+"\n", command("healthcheck", "--url", "unix:"+path))
	require.Contains(t, command("healthcheck"), "no daemon answers at http://127.0.0.1:1 (")
	require.Contains(t, command("healthcheck"), "), and "+may+"\n")
	require.Contains(t, command("pause", "--all", "--why", "smoke"), may+"\n", "that the ledger cannot be opened is half of it")

	require.NoError(t, os.Chmod(path, 0o600))
	require.Equal(t, "retryd: you may not open the daemon's socket "+path+": "+ofUser+"0600"+asThem+"\n", command("healthcheck", "--url", "unix:"+path))
	require.NoError(t, os.Chmod(run, 0o750))
	require.Equal(t, "retryd: you may not open the folder of the daemon's socket "+path+": "+ofUser+"0750"+asThem+inGroup+"\n", command("healthcheck", "--url", "unix:"+path))

	require.NoError(t, os.Chmod(run, 0o755))
	require.NoError(t, os.Chown(path, nameless, nameless))
	require.NoError(t, os.Chmod(path, 0o660))
	require.Equal(t, fmt.Sprintf("retryd: you may not open the daemon's socket %s: it belongs to user %d and group %[2]d, with mode 0660; run this as that user (sudo setpriv --reuid=%[2]d --regid=%[2]d --clear-groups retryd …)\n", path, nameless),
		command("healthcheck", "--url", "unix:"+path), "usermod finds a group by its name alone")
}
