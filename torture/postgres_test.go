package torture

import (
	"database/sql"
	"testing"
	"time"

	"retryd/internal/pgtest"
)

// ttl is that of the leases: short, as each kill costs one.
const ttl = time.Second

func postgresLedger(url string) ledger {
	return ledger{kind: "PostgreSQL", url: url, driver: "pgx", source: url, isolation: sql.LevelRepeatableRead, skew: 100 * time.Millisecond}
}

// TestKilledAtAnyMomentOnPostgreSQL is TestKilledAtAnyMoment with a ledger in PostgreSQL: what a
// killed process leaves is taken over under a new lease.
func TestKilledAtAnyMomentOnPostgreSQL(t *testing.T) {
	t.Parallel()
	n := *cyclesFlag * 2 / 5
	if !long() {
		n = *cyclesFlag
	}
	p := newProof(t, n*2+10, postgresLedger(pgtest.Database(t)))
	p.settings.lease = ttl.String()
	p.killed(n)
}
