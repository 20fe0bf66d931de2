package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"retryd/internal/store"
)

// socket is where people and programs of this machine reach the daemon. Who may open it is for the
// file's mode to say; nothing else is asked of them.
type socket struct {
	*net.UnixListener
	path string
	own  fs.FileInfo // that of the file as we made it
}

// listenSocket makes the socket. One that a dead daemon has left behind is replaced.
func listenSocket(ctx context.Context, path string, mode fs.FileMode) (*socket, error) {
	if err := vacant(ctx, path); err != nil {
		return nil, err
	}
	// It gets its name when it has its mode: there is no moment in which others can open it.
	folder, err := os.MkdirTemp(filepath.Dir(path), ".retryd-")
	if err != nil {
		return nil, atSocket(path, err)
	}
	defer func() { _ = os.RemoveAll(folder) }() // an empty folder is in nobody's way
	made := filepath.Join(folder, "s")
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", made)
	if err != nil {
		return nil, atSocket(path, err)
	}
	s := &socket{UnixListener: l.(*net.UnixListener), path: path}
	s.SetUnlinkOnClose(false) // it would be by the name that it no longer has
	err = os.Chmod(made, mode)
	if err == nil {
		s.own, err = os.Lstat(made)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, errors.Join(atSocket(path, err), l.Close())
	}
	return s, nil
}

// atSocket says what went wrong by the path that people know.
func atSocket(path string, err error) error {
	network, file, link := (*net.OpError)(nil), (*fs.PathError)(nil), (*os.LinkError)(nil)
	switch {
	case errors.As(err, &network):
		err = network.Err
	case errors.As(err, &file):
		err = file.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return fmt.Errorf("server.socket: %s: %w", path, err)
}

// vacant looks whether something else is at the path. Only of a socket that refuses is it known that
// nobody listens.
func vacant(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return atSocket(path, err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("server.socket: %s is there, and is no socket: it is left alone, so name another path", path)
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return errors.Join(fmt.Errorf("server.socket: another retryd, or another program, listens at %s", path), conn.Close())
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("%w: whether somebody listens there is not known, so it is left alone: remove it, or name another path", atSocket(path, err))
}

// Accept gives the next caller, whose address says who it is.
func (s *socket) Accept() (net.Conn, error) {
	conn, err := s.AcceptUnix()
	if err != nil {
		return nil, err
	}
	uid, known := uidOf(conn)
	return peer{conn, whoCalls{uid, known}}, nil
}

// Close removes the socket, unless another daemon has put its own in the place since.
func (s *socket) Close() error {
	if info, err := os.Lstat(s.path); err == nil && os.SameFile(info, s.own) {
		_ = os.Remove(s.path) // one that stays is replaced at the next start
	}
	return s.UnixListener.Close()
}

// peer is a connection over the socket.
type peer struct {
	*net.UnixConn
	from net.Addr
}

// RemoteAddr says who called.
func (p peer) RemoteAddr() net.Addr { return p.from }

// whoCalls is the address of a caller over the socket: the user behind it, as the system tells it.
type whoCalls struct {
	uid   uint32
	known bool
}

// Network is that of sockets.
func (whoCalls) Network() string { return "unix" }

// String names the user for the record. That can take its time, so nobody waits to be accepted for it.
func (w whoCalls) String() string {
	if !w.known {
		return "somebody on this machine"
	}
	return person(strconv.FormatUint(uint64(w.uid), 10))
}

type overSocketKey struct{}

// markSocket marks what comes over the socket: no header can.
func markSocket(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, overSocketKey{}, true)
}

// overSocket tells whether a request came over the socket.
func overSocket(r *http.Request) bool {
	over, _ := r.Context().Value(overSocketKey{}).(bool)
	return over
}

// closedSocket says who may open a socket that we may not.
func closedSocket(path string) string {
	what, forGroup := "the daemon's socket "+path, fs.FileMode(0o020)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrPermission) {
		what, forGroup = "the folder of the daemon's socket "+path, 0o010
		info, err = os.Stat(filepath.Dir(path))
	}
	if err != nil {
		return "you may not open " + what
	}
	uid, gid, known := store.OwnerOf(info)
	if !known {
		return "you may not open " + what
	}
	group, named := groupName(gid)
	text := fmt.Sprintf("you may not open %s: it belongs to user %s and group %s, with mode %04o; run this as that user (%s retryd …)", what, store.UserName(uid), group, info.Mode().Perm(), store.AsUser(uid, gid))
	if info.Mode().Perm()&forGroup != 0 && named {
		text += fmt.Sprintf(", or have yourself put into the group (sudo usermod -aG %s NAME) and log in anew", group)
	}
	return text
}

// groupName gives a group: one without a name, into which usermod puts nobody, by its number.
func groupName(gid int) (name string, named bool) {
	number := strconv.Itoa(gid)
	if g, err := user.LookupGroupId(number); err == nil {
		return g.Name, true
	}
	return number, false
}
