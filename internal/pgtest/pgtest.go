// Package pgtest starts a real PostgreSQL for tests: a cluster of its own in a temporary folder,
// from the binaries that the machine has, and in it a new database for each test.
package pgtest

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Environment names a server to use instead, such as postgres://postgres@127.0.0.1:5432/postgres,
// by a user who may create databases.
const Environment = "RETRYD_TEST_POSTGRES"

var shared struct {
	sync.Mutex
	server    *Server
	databases int
}

// Database gives the address of a new, empty database, which is dropped when the test ends. The
// first call of a process starts the server; Stop ends it.
func Database(t testing.TB) string {
	t.Helper()
	address, drop, err := Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Error(err)
		}
	})
	return address
}

// Create is Database where there is no testing.TB.
func Create(ctx context.Context) (address string, drop func() error, err error) {
	shared.Lock()
	defer shared.Unlock()
	admin := os.Getenv(Environment)
	if admin == "" {
		if shared.server == nil {
			if shared.server, err = Start(); err != nil {
				return "", nil, fmt.Errorf("a PostgreSQL is needed: %w\ninstall one (Debian: apt-get install postgresql), or name a server in $%s", err, Environment)
			}
		}
		admin = shared.server.URL()
	}
	u, err := url.Parse(admin)
	if err != nil {
		return "", nil, fmt.Errorf("$%s: %w", Environment, err)
	}
	shared.databases++
	name := fmt.Sprintf("retryd_test_%d_%d", os.Getpid(), shared.databases)
	u.Path = "/" + name
	if err := run(ctx, admin, "CREATE DATABASE "+name); err != nil {
		return "", nil, err
	}
	return u.String(), func() error {
		return run(context.WithoutCancel(ctx), admin, "DROP DATABASE "+name+" WITH (FORCE)")
	}, nil
}

func run(ctx context.Context, address, statement string) error {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// Stop ends the server that Database started, if it did.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.Remove()
		shared.server = nil
	}
}

// Server is a PostgreSQL of one's own.
type Server struct {
	bin, folder string
	port        int
	as          *syscall.Credential // PostgreSQL does not run as root
}

// Start makes a cluster and starts it, on a free port of the loopback.
func Start() (*Server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	if s.folder, err = os.MkdirTemp("", "retryd-postgres-"); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		s.Remove()
		return nil, err
	}
	return s, nil
}

func (s *Server) start() error {
	if err := s.owner(); err != nil {
		return err
	}
	if err := s.command("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return err
	}
	return s.Up()
}

// owner lets a user who may run PostgreSQL have the folder.
func (s *Server) owner() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return fmt.Errorf("it does not run as root, and there is no user postgres: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.folder, int(uid), int(gid))
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// URL gives the address of its database postgres.
func (s *Server) URL() string {
	return "postgres://postgres@" + s.Address() + "/postgres?sslmode=disable"
}

// Address gives its host and port.
func (s *Server) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Up starts it. What ends in a test are processes, and not the machine: it need not wait for the
// disk.
func (s *Server) Up() error {
	options := fmt.Sprintf("-c listen_addresses=127.0.0.1 -c port=%d -c unix_socket_directories=%s -c fsync=off -c max_connections=200", s.port, s.folder)
	return s.command("pg_ctl", "-D", s.data(), "-l", filepath.Join(s.folder, "log"), "-o", options, "-w", "-s", "start")
}

// Down stops it: "fast" as a restart does, "immediate" as a crash does.
func (s *Server) Down(mode string) error {
	return s.command("pg_ctl", "-D", s.data(), "-m", mode, "-w", "-s", "stop")
}

// Remove stops it and deletes its folder.
func (s *Server) Remove() {
	_ = s.Down("immediate") // it may not run
	_ = os.RemoveAll(s.folder)
}

func (s *Server) command(name string, args ...string) error {
	c := exec.Command(filepath.Join(s.bin, name), args...)
	c.Dir, c.Env = s.folder, append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	if s.as != nil {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	}
	// A file: a pipe would stay open for as long as the server runs.
	out, err := os.CreateTemp("", "retryd-postgres-out-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return nil
}

// find gives the folder of the binaries.
func find() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"} {
		found, err := filepath.Glob(filepath.Join(pattern, "initdb"))
		if err == nil && len(found) > 0 {
			slices.SortFunc(found, func(a, b string) int { return cmp.Compare(version(a), version(b)) })
			return filepath.Dir(found[len(found)-1]), nil // the newest
		}
	}
	return "", errors.New("initdb is neither in $PATH nor where packages put it")
}

// version gives the first number in a path.
func version(path string) float64 {
	n, err := strconv.ParseFloat(regexp.MustCompile(`\d+(\.\d+)?`).FindString(path), 64)
	if err != nil {
		return 0
	}
	return n
}
