package torture

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
	p := newProof(t, n+10, postgresLedger(pgtest.Database(t)))
	p.settings.lease = ttl.String()
	d := p.launch()
	require.NoError(t, d.ready())
	d.kill()
	for range 4 {
		p.w.grow()
	}
	for i := range n {
		p.cycle(long() || i < n*2/3)
	}
	p.rest(3*time.Minute, p.young())
}
