package config

import (
	"cmp"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Store is where the ledger is: in a file, or in a database.
type Store struct {
	Path      string        // of SQLite's file
	URL       Secret        // of PostgreSQL
	Retention time.Duration // of history; counts are kept
}

// Lease is the right to drive a budget, where several replicas share a ledger.
type Lease struct {
	TTL time.Duration // how long a dead replica keeps it
}

func (d *decoder) store(r rawStore) Store {
	s := Store{Retention: r.Retention}
	address, n := r.URL, r.of("url")
	if r.has("url_file") {
		n = r.of("url_file")
		if r.has("url") {
			d.problem(n, "url and url_file are both set: one of them has to go")
			return s
		}
		data, ok := d.read(n, "url_file", r.URLFile)
		if !ok {
			return s
		}
		address = strings.TrimSpace(string(data))
	}
	if strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://") {
		s.URL = d.postgres(r, address)
		return s
	}
	path, ok := strings.CutPrefix(address, "sqlite:")
	if !ok || path == "" || strings.HasPrefix(path, "//") {
		d.problem(n, "the ledger's address must be sqlite: and a path, such as sqlite:/var/lib/retryd/retryd.db, or postgres://user@host:5432/database")
		return s
	}
	s.Path = d.statePath(n, path)
	return s
}

func (d *decoder) postgres(r rawStore, address string) Secret {
	n, key := r.of("url"), "url"
	if r.has("url_file") {
		n, key = r.of("url_file"), "what is in url_file"
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" && u.Query().Get("host") == "" || strings.Trim(u.Path, "/") == "" {
		d.problem(n, "%s must be postgres://user@host:5432/database", key)
		return ""
	}
	_, password := u.User.Password()
	if (password || u.Query().Has("password") || u.Query().Has("sslpassword")) && key == "url" {
		d.problem(n, "url has a password in it, which everybody who reads the configuration sees: put the whole address into url_file, or the password into $PGPASSWORD or $PGPASSFILE")
	}
	mode := u.Query().Get("sslmode")
	if host := cmp.Or(u.Hostname(), u.Query().Get("host")); !loopback(host) && !strings.HasPrefix(host, "/") && !slices.Contains([]string{"require", "verify-ca", "verify-full"}, mode) {
		d.warn(n, "whoever is between this machine and the database can read and change the ledger: add sslmode=verify-full to the address")
	}
	if info, err := os.Stat(d.path(n, r.URLFile)); err == nil && key != "url" && password && info.Mode().Perm()&0o004 != 0 {
		d.warn(n, "everybody on this machine can read the password in url_file: chmod 600")
	}
	return Secret(address)
}

// statePath makes a path relative to systemd's folder for state, else to the file's folder.
func (d *decoder) statePath(n *yaml.Node, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	folder := d.folder(n)
	if state, _ := d.env("STATE_DIRECTORY"); state != "" { // perhaps several
		folder, _, _ = strings.Cut(state, ":")
	}
	return absolute(filepath.Join(folder, path))
}
