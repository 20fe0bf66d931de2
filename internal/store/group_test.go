package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// TestWritesThatShareATransactionAreEachWholeOrNot has claims, answers and pauses written together with
// some that fail in each way.
func TestWritesThatShareATransactionAreEachWholeOrNot(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		early, _, err := s.Claim(t.Context(), claim(task, 5, store.Candidate{DeviceID: "early"}))
		require.NoError(t, err)
		waiting, release := store.Hold(s, project)
		var wg sync.WaitGroup
		joined := 0
		join := func(f func()) { // one after the other, so that their order is known
			wg.Go(f)
			for joined++; waiting() < joined; {
				runtime.Gosched()
			}
		}
		claimed := make([][]store.Claimed, 10)
		for i := range claimed {
			join(func() {
				var err error
				claimed[i], _, err = s.Claim(t.Context(), claim(task, 5, store.Candidate{DeviceID: fmt.Sprint("d", i)}, store.Candidate{DeviceID: "shared"}))
				if err != nil {
					t.Error(err)
				}
			})
		}
		cause := errors.New("a change of mind")
		var failed [3]error
		join(func() { failed[0] = store.Broken(t.Context(), s, project, `SELECT 1`, cause) })
		join(func() {
			failed[1] = store.Broken(t.Context(), s, project, `INSERT INTO meta (key, value) VALUES ('broken', '')`, nil)
		})
		gone, cancel := context.WithCancel(t.Context())
		join(func() { failed[2] = store.Broken(gone, s, project, `SELECT 1`, nil) })
		cancel()
		for joined--; waiting() > joined; { // it leaves the others
			runtime.Gosched()
		}
		join(func() {
			_, err := s.Answered(t.Context(), project, task, []store.Answer{{Claimed: early[0], State: policy.Accepted, AnsweredAt: p.now}})
			if err != nil {
				t.Error(err)
			}
		})
		var refused error
		under := s.Under(store.Lease{Budget: "nobody's", Holder: "nobody"})
		join(func() { _, _, refused = under.Claim(t.Context(), claim(task, 5, store.Candidate{DeviceID: "fenced"})) })
		release()
		wg.Wait()
		require.ErrorIs(t, failed[0], cause)
		require.ErrorContains(t, failed[1], "write the ledger")
		require.ErrorIs(t, failed[2], context.Canceled)
		require.ErrorIs(t, refused, store.ErrFenced)
		shared := 0
		for i, c := range claimed {
			require.NotEmpty(t, c)
			require.Equal(t, store.Claimed{DeviceID: fmt.Sprint("d", i), N: 1}, c[0])
			shared += len(c) - 1
		}
		require.Equal(t, 1, shared, "a device is claimed once")
		require.Equal(t, policy.Accepted, record(t, s, task, "early").State)
		require.Zero(t, record(t, s, task, "fenced").N)
		var broken int
		require.NoError(t, p.raw(t).QueryRow(`SELECT count(*) FROM meta WHERE key = 'broken'`).Scan(&broken))
		require.Zero(t, broken, "nothing is half written")
		require.Empty(t, check(t, s))
	})
}

// TestAGroupThatCannotBeCommittedIsWrittenForNone takes the ledger away while writes wait for each other.
func TestAGroupThatCannotBeCommittedIsWrittenForNone(t *testing.T) {
	p := &place{o: store.Options{Path: t.TempDir() + "/retryd.db", Create: true}}
	s := p.open(t)
	waiting, release := store.Hold(s, project)
	var wg sync.WaitGroup
	errs := make([]error, 5)
	for i := range errs {
		wg.Go(func() {
			_, _, errs[i] = s.Claim(t.Context(), claim(task, 5, store.Candidate{DeviceID: fmt.Sprint("d", i)}))
		})
	}
	for waiting() < len(errs) {
		runtime.Gosched()
	}
	db := p.raw(t)
	_, err := db.Exec(`ALTER TABLE attempts RENAME TO taken`)
	require.NoError(t, err)
	release()
	wg.Wait()
	for _, err := range errs {
		require.Error(t, err)
	}
	_, err = db.Exec(`ALTER TABLE taken RENAME TO attempts`)
	require.NoError(t, err)
	for i := range errs {
		require.Zero(t, record(t, s, task, fmt.Sprint("d", i)).N)
	}
}
