package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// What a session of PostgreSQL is held to. A commit is on the disk before the request that it is
// for; a process that is stopped within a transaction, or cut off, keeps the others waiting for no
// longer than that.
var session = map[string]string{
	"synchronous_commit":                  "on",
	"idle_in_transaction_session_timeout": "5s",
	"lock_timeout":                        "15s",
	"statement_timeout":                   "30s",
}

// unanswered is how long a packet may stay without acknowledgement.
const unanswered = 10 * time.Second

func (s *Store) openPostgres(ctx context.Context) error {
	c, err := pgx.ParseConfig(s.o.URL)
	if err != nil {
		return errors.New("ledger: store.url is no address of a PostgreSQL database, such as postgres://retryd@db.example:5432/retryd") // the error may show the password
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "retryd"
	}
	begin := stdlib.OptionAfterConnect(s.sessions(c.RuntimeParams))
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = unanswered
	}
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		Control:         giveUpAfter(unanswered),
	}
	c.DialFunc = dialer.DialContext
	s.read = wrap(stdlib.OpenDB(*c, begin), postgres)
	s.read.wait = longest
	s.read.SetMaxOpenConns(10)
	s.read.SetMaxIdleConns(4)
	s.read.SetConnMaxIdleTime(5 * time.Minute)
	if !s.o.ReadOnly {
		s.write = wrap(s.read.DB, postgres)
		s.leasing = wrap(stdlib.OpenDB(*c, begin), postgres)
		s.leasing.wait = longest
		s.leasing.SetMaxOpenConns(2)
	}
	s.clock = &clock{}
	if err := s.read.PingContext(ctx); err != nil {
		return fmt.Errorf("ledger %s: %w", where(c), reason(err))
	}
	if err := s.readClock(ctx); err != nil {
		return fmt.Errorf("ledger %s: %w", where(c), err)
	}
	version, err := s.version(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("ledger %s: %w", where(c), err)
	case version == 0 && (!s.o.Create || s.o.Join || s.o.ReadOnly):
		return fmt.Errorf("ledger %s: %w", where(c), ErrNoLedger)
	case s.o.Join || s.o.ReadOnly:
		return s.checkVersion(ctx)
	}
	return s.migrate(ctx)
}

// sessions gives what a session begins with, but for what the address says itself. It is set by
// statements: a pooler refuses such parameters at the start of a connection, or leaves them out.
func (s *Store) sessions(named map[string]string) func(context.Context, *pgx.Conn) error {
	var set strings.Builder
	for _, name := range slices.Sorted(maps.Keys(session)) {
		if _, own := named[name]; !own || name == "synchronous_commit" {
			set.WriteString("SET " + name + " = '" + session[name] + "';")
		}
	}
	if s.o.ReadOnly {
		set.WriteString("SET default_transaction_read_only = 'on'")
	}
	return func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, set.String())
		return err
	}
}

// where names a database without its password.
func where(c *pgx.ConnConfig) string {
	return fmt.Sprintf("postgres://%s@%s:%d/%s", c.User, c.Host, c.Port, c.Database)
}

// Where names the ledger: a path, or a database without its password.
func (s *Store) Where() string { return s.o.Where() }

// Where names the ledger that the options are for, as Store.Where does.
func (o Options) Where() string {
	if o.URL == "" {
		return o.Path
	}
	c, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return "PostgreSQL"
	}
	return where(c)
}

// reason is an error of connecting without the address, which has been said, and with what to
// do where that is known.
func reason(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return fmt.Errorf("the database refuses the connection: %s (SQLSTATE %s)", refused.Message, refused.Code)
	}
	return fmt.Errorf("the database cannot be reached: %w", err)
}

// postgresSize gives what the ledger's tables and indices take up.
func (s *Store) postgresSize() int64 {
	s.size.mu.Lock() // who scrapes asks for it twice, and may be many
	defer s.size.mu.Unlock()
	if time.Since(s.size.at) > 10*time.Second {
		s.size.bytes, s.size.at = s.measure(), time.Now()
	}
	return s.size.bytes
}

// size is what was measured last.
type size struct {
	mu    sync.Mutex
	bytes int64
	at    time.Time
}

func (s *Store) measure() (bytes int64) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	// Past what counts failed reads: it takes long where the tables are large, and nothing waits for it.
	err := s.read.DB.QueryRowContext(ctx, `SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables WHERE schemaname = current_schema()`).Scan(&bytes)
	if err != nil {
		return 0
	}
	return bytes
}
