package torture

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// oldLedger makes a ledger of the last schema but one. It has a target that has used all its
// attempts, one that has one left, and one whose request was under way.
func (p *proof) oldLedger() (version int64) {
	t := p.t
	folder := filepath.Join("..", "internal", "store", "migrations", "sqlite")
	files, err := filepath.Glob(filepath.Join(folder, "*.sql"))
	require.NoError(t, err)
	version = int64(len(files) - 1)
	require.Positive(t, version)
	db, err := sql.Open("sqlite", "file:"+p.ledger.file+"?_pragma=journal_mode(WAL)")
	require.NoError(t, err)
	defer db.Close()
	migrations, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS(folder))
	require.NoError(t, err)
	_, err = migrations.UpTo(context.Background(), version)
	require.NoError(t, err)
	// Whoever made it has said that it was new.
	_, err = db.Exec(`INSERT INTO meta (key, value) VALUES ('created_at', ?), ('announced', '')`, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	require.NoError(t, err)
	p.old = true
	task := emulator.Task{Name: "fw", Type: iotda.FirmwareUpgrade}
	for _, device := range []string{"used-up", "one-left", "under-way"} {
		task.Devices = append(task.Devices, emulator.Device{ID: device, Status: iotda.SubtaskFail, Fate: emulator.Fate{Message: reasons[0]}})
	}
	c := &campaign{}
	p.w.add(c, task, false)
	p.w.subjects[c.targets[0]].never = true
	for i, k := range c.targets {
		counted, state := maxAttempts-i, "failed"
		if k.device == "under-way" {
			state = "claimed"
		}
		p.w.subjects[k].spent = counted
		then := time.Now().Add(-time.Hour)
		_, err := db.Exec(`INSERT INTO targets (project_id, task_id, device_id, task_type, policy, connection, last_n, counted, first_at, state, seen_at)
			VALUES (?, ?, ?, 'firmwareUpgrade', 'nightly', 'prod', ?, ?, ?, ?, ?)`, project, k.task, k.device, counted, counted, then.UnixMicro(), state, then.UnixMicro())
		require.NoError(t, err)
		for n := 1; n <= counted; n++ {
			claimed := then.Add(time.Duration(n) * time.Minute)
			ended := claimed.Add(30 * time.Second).UnixMicro()
			if state == "claimed" {
				ended = 0
			}
			_, err := db.Exec(`INSERT INTO attempts (project_id, task_id, device_id, n, state, task_type, policy, connection, claimed_at, send_by, answered_at, settled_at, settle, stale_after, wait_retry_fails)
				VALUES (?, ?, ?, ?, ?, 'firmwareUpgrade', 'nightly', 'prod', ?, ?, ?, ?, 200000, 1000000000000, 0)`,
				project, k.task, k.device, n, state, claimed.UnixMicro(), claimed.Add(36*time.Second).UnixMicro(), ended, ended)
			require.NoError(t, err)
		}
	}
	return version
}
