package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"retryd/internal/policy"
)

// Config is a configuration that holds together: defaults are filled in, names resolve,
// patterns and schedules are compiled.
type Config struct {
	File        string
	Hash        string // of the file's bytes, 12 hex digits
	Server      Server
	Log         Log
	Store       Store
	Connections []Connection
	Policies    []*policy.Policy
	Warnings    []string // each with its position
}

// Server is where the daemon listens.
type Server struct{ Listen string }

// Log is how the daemon logs.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // json or console
}

// Store is where the ledger is.
type Store struct {
	Path      string
	Retention time.Duration // of history; counts are kept
}

// Connection is one instance of IoTDA.
type Connection struct {
	Name, Endpoint, Region, ProjectID, InstanceID string

	Auth              Auth
	RequestsPerSecond float64
	Burst             int
	Concurrency       int
	Timeout           time.Duration
	Backoff           Backoff
	CAFile            string
}

// Auth is how calls are signed: with an access key, or a token.
type Auth struct {
	AccessKey, SecretKey, SecurityToken Secret

	Signing   string // auto, basic or derived
	TokenFile string
	Token     Secret
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

// Places lists where a configuration is looked for when none is named.
func Places() []string { return []string{"retryd.yaml", "/etc/retryd/retryd.yaml"} }

// Find gives the file to use: the one that is named, else the first of Places that
// exists.
func Find(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	for _, place := range Places() {
		if _, err := os.Stat(place); !errors.Is(err, fs.ErrNotExist) {
			return place, nil
		}
	}
	return "", fmt.Errorf("no configuration: neither %s exists; name one with --config", strings.Join(Places(), " nor "))
}

const maxFile = 1 << 20

// Load reads and checks a file. Its error is Problems where the file could be read.
func Load(file string, env Env) (*Config, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("read the configuration: %s is a folder: name a file", file)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("read the configuration: %s is larger than 1 MiB", file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := Parse(file, data, env)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o004 != 0 && literalSecret.Match(data) {
		c.Warnings = append(c.Warnings, file+":1:1: everybody on this machine can read the secrets in this file: chmod 600, or use secret_key_file")
	}
	return c, nil
}

// Parse checks the bytes of a file. Relative paths in it are relative to the file's folder.
func Parse(file string, data []byte, env Env) (*Config, error) {
	d := &decoder{file: file, env: env, told: map[*yaml.Node]bool{}}
	var raw rawFile
	d.document(data, &raw)
	if len(d.problems) > 0 && raw.node == nil { // no structure to look into further
		return nil, d.sorted()
	}
	c := d.build(&raw)
	if len(d.problems) > 0 {
		return nil, d.sorted()
	}
	sum := sha256.Sum256(data)
	c.File, c.Hash, c.Warnings = file, hex.EncodeToString(sum[:6]), d.warnings
	return c, nil
}

func (d *decoder) folder() string { return filepath.Dir(d.file) }
