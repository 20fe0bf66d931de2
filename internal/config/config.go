package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"retryd/internal/policy"
)

// Config is a configuration that holds together: defaults are filled in, names resolve,
// patterns and schedules are compiled.
type Config struct {
	Files       []string // in the order in which they were read
	Hash        string   // of everything that was read, named files included: 12 hex digits
	Server      Server
	Log         Log
	Store       Store
	Lease       Lease
	Budgets     []Budget
	Connections []Connection
	Policies    []*policy.Policy
	Receivers   []Receiver // of notices
	Warnings    Problems   // what is allowed but unwise

	raw *rawFile
	d   *decoder
}

// Server is where the daemon listens, and whom it lets in.
type Server struct {
	Listen      string
	Socket      string      // path of a unix socket; empty = none
	SocketMode  fs.FileMode // of it
	Web         Web
	ExternalURL string // where people reach it, without a slash at the end
}

// Log is how the daemon logs.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // json or console
}

// Budget is a rate that connections share.
type Budget struct {
	Name              string
	RequestsPerSecond float64
	Burst             int
}

// NeedRestart names what differs from the configuration that runs and cannot change while it
// does.
func (c *Config) NeedRestart(running *Config) Problems {
	var p Problems
	for _, key := range []struct {
		name    string
		section at
		changed bool
	}{
		{"listen", c.raw.Server.at, c.Server.Listen != running.Server.Listen},
		{"socket", c.raw.Server.at, c.Server.Socket != running.Server.Socket},
		{"socket_mode", c.raw.Server.at, c.Server.SocketMode != running.Server.SocketMode},
		{"web_config", c.raw.Server.at, c.Server.Web.Path != running.Server.Web.Path},
		{"format", c.raw.Log.at, c.Log.Format != running.Log.Format},
		{c.raw.Store.urlKey(), c.raw.Store.at, c.Store.Path != running.Store.Path || c.Store.URL != running.Store.URL},
		{"ttl", c.raw.Lease.at, c.Lease.TTL != running.Lease.TTL},
	} {
		if key.changed {
			p = append(p, c.d.at(key.section.of(key.name), "%s cannot change while retryd runs: restart it, or put the old value back", []any{key.name}))
		}
	}
	if web := c.Server.Web; web.Path == running.Server.Web.Path && web.fixed != running.Server.Web.fixed {
		p = append(p, c.d.at(c.raw.Server.of("web_config"), "TLS on or off, http2 and rate_limit in web_config cannot change while retryd runs: restart it, or put the old value back", nil))
	}
	return p
}

// BudgetOf gives the budget of a connection: the one that it names, or its own, which is
// named after its identity.
func (c *Config) BudgetOf(connection Connection) Budget {
	for _, b := range c.Budgets {
		if b.Name == connection.Budget {
			return b
		}
	}
	return Budget{connection.Identity(), connection.RequestsPerSecond, connection.Burst}
}

// Connection is one instance of IoTDA.
type Connection struct {
	Name, Endpoint, Region, ProjectID, InstanceID string

	Labels            map[string]string
	Auth              Auth
	Budget            string // name of one of Config.Budgets; empty = its own, of the next two
	RequestsPerSecond float64
	Burst             int
	Concurrency       int
	Timeout           time.Duration
	Backoff           Backoff
	CAFile            string
	CASum             string // of what is in it
	Hash              string // of everything above as it is in force, secrets included
}

// Identity names the instance and project, whatever the connection is called.
func (c Connection) Identity() string {
	host := c.Endpoint
	if u, err := url.Parse(c.Endpoint); err == nil {
		host = u.Host
	}
	return strings.ToLower(host) + " " + c.InstanceID + " " + c.ProjectID
}

// Auth is who calls: exactly one of an access key, a token, an IAM login and a provider.
type Auth struct {
	AccessKey, SecretKey, SecurityToken Secret

	Signing   string // auto, basic or derived
	TokenFile string
	Token     Secret
	IAM       IAM
	Provider  string // env, profile, metadata or chain
}

// IAM is a login that gives tokens.
type IAM struct {
	Domain, User string
	Password     Secret
	Endpoint     string
}

// Backoff is the pauses between tries of one API call.
type Backoff struct {
	Initial    time.Duration
	Multiplier float64
	Max        time.Duration
	MaxElapsed time.Duration
	Jitter     float64
}

// Env looks up an environment variable, as os.LookupEnv does.
type Env func(name string) (string, bool)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File         string
	Line, Column int
	Message      string
	Unread       bool // the cause is a file that cannot be read now, and may be later

	unset bool // the cause is a variable that this process does not have
}

// String gives file:line:column: message.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems is everything that is wrong with a file, in the order of the file.
type Problems []Problem //nolint:errname // a list first, an error by the way

// Error gives one problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// unusable is the error of a configuration that cannot be used, with what is unwise in it beside.
type unusable struct{ Problems, unwise Problems }

// Error gives one problem a line.
func (u unusable) Error() string { return u.Problems.Error() }

// Unwrap gives the problems.
func (u unusable) Unwrap() error { return u.Problems }

// WarningsOf gives what is allowed but unwise in a configuration that could not be used, by the error of
// Load or Parse: whoever mends the problems can mend this with them.
func WarningsOf(err error) Problems {
	var bad unusable
	errors.As(err, &bad)
	return bad.unwise
}

func (d *decoder) unusable() error {
	return unusable{Problems: d.sorted(d.problems), unwise: d.sorted(d.warnings)}
}

// Places lists where a configuration is looked for when none is named.
func Places() []string { return []string{"retryd.yaml", "/etc/retryd/retryd.yaml"} }

// Find gives what to read: what is named, else the first of Places that exists.
func Find(named []string) ([]string, error) {
	if len(named) > 0 {
		return named, nil
	}
	for _, place := range Places() {
		if _, err := os.Stat(place); !errors.Is(err, fs.ErrNotExist) {
			return []string{place}, nil
		}
	}
	return nil, fmt.Errorf("no configuration: neither %s exists: `retryd init` writes one to begin with, and --config names another", strings.Join(Places(), " nor "))
}

const maxFile = 1 << 20

// Load reads and checks files, and the *.yaml of folders in the order of their names, as one
// configuration. Its error is Problems where they could be read.
func Load(paths []string, env Env) (*Config, error) { return load(newDecoder(env), paths) }

// Observing does the same, with every policy in mode observe, whatever is written: nothing is sent.
func Observing(paths []string, env Env) (*Config, error) {
	d := newDecoder(env)
	d.observe = true
	return load(d, paths)
}

func load(d *decoder, paths []string) (*Config, error) {
	var files []string
	for _, path := range paths {
		found, err := expand(path)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		files = append(files, found...)
	}
	documents := make([]document, 0, len(files))
	var open []string // files with secrets that everybody can read
	unread := unread(paths)
	for _, file := range files {
		data, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 && literalSecret.Match(data) {
			open = append(open, file)
		}
		if root := d.document(file, data); root != nil {
			documents = append(documents, document{file, root})
		}
	}
	for _, file := range open {
		unread = append(unread, Problem{file, 1, 1, "everybody on this machine can read the secrets in this file: chmod 600, or use the keys that end in _file", false, false})
	}
	c, err := d.config(documents)
	if err != nil {
		if bad := (unusable{}); errors.As(err, &bad) {
			bad.unwise = append(bad.unwise, unread...)
			err = bad
		}
		return nil, err
	}
	c.Warnings = append(c.Warnings, unread...)
	return c, nil
}

// expand gives the files of a folder, or the file itself.
func expand(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	files, err := filepath.Glob(filepath.Join(path, "*.yaml"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s is a folder without any *.yaml", path)
		if others := unread([]string{path}); len(others) > 0 {
			err = fmt.Errorf("%w: %s has to end in .yaml", err, others[0].File)
		}
	}
	return files, err
}

func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than 1 MiB", file)
	}
	return os.ReadFile(file)
}

// Parse checks the bytes of one file. Relative paths in it are relative to the file's folder.
func Parse(file string, data []byte, env Env) (*Config, error) {
	d := newDecoder(env)
	var documents []document
	if root := d.document(file, data); root != nil {
		documents = append(documents, document{file, root})
	}
	return d.config(documents)
}

// config makes one configuration of all documents.
func (d *decoder) config(documents []document) (*Config, error) {
	if len(documents) == 0 { // no structure to look into further
		return nil, d.unusable()
	}
	root := d.join(documents)
	d.applyDefaults(root)
	var raw rawFile
	raw.defaults()
	d.mapping(root, reflect.ValueOf(&raw).Elem(), "the file")
	if raw.node == nil {
		return nil, d.unusable()
	}
	for i := range raw.Policies {
		if d.observe {
			raw.Policies[i].Mode = string(policy.ModeObserve)
		}
	}
	c := d.build(&raw)
	if len(d.problems) > 0 {
		return nil, d.unusable()
	}
	c.Files, c.Hash, c.Warnings = d.order, hex.EncodeToString(d.sum.Sum(nil)[:6]), d.sorted(d.warnings)
	c.raw, c.d = &raw, d
	return c, nil
}
