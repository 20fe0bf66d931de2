package main

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/pgtest"
	"retryd/internal/store"
)

func TestAFaultyLedgerIsDescribedAndFailsTheCheck(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "retryd.yaml")
	require.NoError(t, os.WriteFile(file, []byte(sample("127.0.0.1:1")), 0o600))
	path := filepath.Join(folder, "retryd.db")
	s, err := store.Open(t.Context(), store.Options{Path: path, Create: true})
	require.NoError(t, err)
	c := store.Claim{Scope: store.Scope{ProjectID: "p", TaskID: "aa"}, Candidates: []store.Candidate{{DeviceID: "d", Max: 1}}}
	_, _, err = s.Claim(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.Exec(`UPDATE targets SET counted = 0; UPDATE attempts SET state = 'lost'`)
	require.NoError(t, err)
	require.NoError(t, db.Close())

	var stdout, stderr bytes.Buffer
	require.Equal(t, exitFailed, run(t.Context(), []string{"-c", file, "ledger", "check"}, &stdout, &stderr))
	require.Equal(t, `count_low: project p, task aa, device d
  0 attempts are counted, and 1 on record count
  to do: pause the task (retryd pause --task), then set the record right: a target may be retried more often than its policy allows
numbers: project p, task aa, device d
  attempt 1 is lost, and was never settled
  to do: pause the task (retryd pause --task), and find out who changed the ledger
unknown_word: table attempts, column state
  "lost", in 1 rows
  to do: another program, or a newer retryd, has written here: find out which, and restore the last backup
`, stdout.String())
	require.Equal(t, "retryd: the ledger has 3 faults: docs/ledger.md explains each kind\n", stderr.String())

	stdout.Reset()
	require.Equal(t, exitFailed, run(t.Context(), []string{"-c", file, "ledger", "check", "--format", "json"}, &stdout, &stderr))
	require.JSONEq(t, `{"ledger": "`+path+`", "findings": [
		{"kind": "count_low", "where": "project p, task aa, device d", "what": "0 attempts are counted, and 1 on record count",
			"do": "pause the task (retryd pause --task), then set the record right: a target may be retried more often than its policy allows"},
		{"kind": "numbers", "where": "project p, task aa, device d", "what": "attempt 1 is lost, and was never settled",
			"do": "pause the task (retryd pause --task), and find out who changed the ledger"},
		{"kind": "unknown_word", "where": "table attempts, column state", "what": "\"lost\", in 1 rows",
			"do": "another program, or a newer retryd, has written here: find out which, and restore the last backup"}]}`, stdout.String())

	stderr.Reset()
	copied := filepath.Join(folder, "copy.db")
	require.Equal(t, exitFailed, run(t.Context(), []string{"-c", file, "ledger", "backup", copied}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "the ledger has 3 faults")
	require.FileExists(t, copied, "a faulty copy is better than none")
}

func TestTheMetricsOfTheLedgerAreTrueOfEachDatabase(t *testing.T) {
	for kind, address := range map[string]string{"sqlite": "sqlite:retryd.db", "pgx": pgtest.Database(t)} {
		folder := t.TempDir()
		file := filepath.Join(folder, "retryd.yaml")
		require.NoError(t, os.WriteFile(file, []byte(sample("127.0.0.1:1")+"store: {url: \""+address+"\"}\n"), 0o600))
		var stderr bytes.Buffer
		a := &app{ctx: t.Context(), config: []string{file}, stderr: &stderr}
		h, err := a.byHand()
		require.NoError(t, err)
		before := time.Now().Add(-2 * time.Second)
		require.NoError(t, h.open(a, h.ledger(store.Options{Create: true})))
		t.Cleanup(h.close)
		_, err = h.store.PauseNow(t.Context(), store.Action{}, store.Pause{Scope: store.PauseAll})
		require.NoError(t, err)
		_, _, err = h.store.Claim(t.Context(), store.Claim{})
		require.ErrorAs(t, err, new(*store.GateError))
		require.ErrorIs(t, h.store.Under(store.Lease{Budget: "x"}).Writable(t.Context()), store.ErrFenced)
		read := func(name string) float64 {
			families, err := h.registry.Gather()
			require.NoError(t, err)
			for _, f := range families {
				if m := f.GetMetric(); f.GetName() == "retryd_"+name {
					return m[0].GetGauge().GetValue() + m[0].GetCounter().GetValue() + float64(m[0].GetHistogram().GetSampleCount())
				}
			}
			t.Fatal("there is no ", name)
			return 0
		}
		require.Zero(t, read("ledger_errors_total"), "a pause and a lost lease are none")
		writes := read("ledger_write_duration_seconds")
		require.GreaterOrEqual(t, writes, 3.0)
		require.Positive(t, read("ledger_size_bytes"))
		require.Equal(t, kind == "sqlite", read("ledger_wal_bytes") > 0)
		require.WithinRange(t, time.Unix(int64(read("ledger_created_timestamp_seconds")), 0), before, time.Now())
		name := filepath.Join(folder, "retryd.db")
		if kind == "pgx" {
			name = address
		}
		db, err := sql.Open(kind, name)
		require.NoError(t, err)
		_, err = db.Exec(`ALTER TABLE meta RENAME TO elsewhere`)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		require.Error(t, h.store.Writable(t.Context()))
		require.Equal(t, 1.0, read("ledger_errors_total"))
		require.Equal(t, writes+1, read("ledger_write_duration_seconds"))
	}
}

func TestTheAddressOfADatabaseIsShownWithoutItsPassword(t *testing.T) {
	for address, want := range map[string]string{
		"postgres://retryd:secret@db.example:5432/retryd?sslmode=verify-full&pool_max_conns=5": "postgres://retryd@db.example:5432/retryd?sslmode=verify-full",
		"postgres:///retryd?host=/run/postgresql&password=secret":                              "postgres:///retryd?host=%2Frun%2Fpostgresql",
		"postgres://%zz": "the address of the database",
	} {
		require.Equal(t, want, withoutPassword(address))
	}
}

func TestThePageOfTheLedgerExplainsEveryKindOfFinding(t *testing.T) {
	data, err := os.ReadFile("../../docs/ledger.md")
	require.NoError(t, err)
	var want []string
	for _, kind := range store.FindingKinds() {
		want = append(want, string(kind))
	}
	require.Equal(t, want, firstColumn(string(data), "[a-z_]+"))
}
