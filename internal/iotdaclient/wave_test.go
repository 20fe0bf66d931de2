package iotdaclient_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

// far gives a client with 16 calls in flight, of a platform that is some way off in virtual time.
func (w *world) far(t *testing.T) *iotdaclient.Client {
	c, err := iotdaclient.New(iotdaclient.Options{
		Name: "prod", Endpoint: "http://127.0.0.1:1", Region: "cn-north-4", ProjectID: project, Credentials: key(iotdaclient.SigningDerived),
		Budget: iotdaclient.NewBudget(1e6, 1e6), Guards: iotdaclient.NewGuards(), Concurrency: 16, Timeout: 10 * time.Second,
		Transport: inMemory{w.e, nil},
		Backoff:   iotdaclient.Backoff{Initial: time.Second, Multiplier: 2, Max: 10 * time.Second, MaxElapsed: time.Minute},
	})
	require.NoError(t, err)
	return c
}

// TestPagesThatAreExpectedAreReadInOneRoundTrip: and what is not there costs no more than its own pages.
func TestPagesThatAreExpectedAreReadInOneRoundTrip(t *testing.T) {
	for _, row := range []struct {
		name                     string
		rows, expected           int
		calls, roundTrips, waves int
	}{
		{"nothing is known, and there is little", 10, 0, 1, 1, 1},
		{"nothing is known of three pages", 130, 0, 3, 2, 1},
		{"nothing is known of a page that is full", 50, 0, 2, 2, 1},
		{"three pages", 130, 130, 3, 1, 1},
		{"two full ones, and the empty one that ends them", 100, 100, 3, 1, 1},
		{"none", 0, 0, 1, 1, 1},
		{"more than one wave reaches", 700, 700, 15, 2, 2},
		{"exactly as many as it reaches", 550, 550, 12, 2, 2},
		{"too many were expected", 130, 400, 9, 1, 1},
		{"none of those that were expected", 0, 400, 9, 1, 1},
		{"too few were expected", 130, 20, 3, 2, 2},
		{"far too few", 700, 20, 15, 3, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(emulator.Options{})
				id := addTask(t, w.e, row.rows)
				c := w.far(t)
				begun := time.Now()
				require.NoError(t, list(t.Context(), c)) // proves the key
				trip, calls := time.Since(begun), len(w.e.Calls())
				begun, waves, seen := time.Now(), 0, 0
				for from := (iotdaclient.From{Rows: row.expected}); ; waves++ {
					wave, err := c.Wave(t.Context(), id, iotdaclient.Query{Status: iotda.SubtaskFail}, from, iotdaclient.MaxWavePages)
					require.NoError(t, err)
					require.False(t, wave.Uneven)
					seen += len(wave.Subtasks)
					if wave.End {
						break
					}
					from = iotdaclient.From{Marker: wave.Next, Rows: wave.Left}
				}
				require.Equal(t, row.rows, seen)
				require.Equal(t, row.calls, len(w.e.Calls())-calls)
				require.Equal(t, row.roundTrips, int(time.Since(begun)/trip))
				require.Equal(t, row.waves, waves+1)
			})
		})
	}
}

// TestRowsThatStayAreReadWhateverMovesAroundThem: rows leave and enter the status between pages and
// waves; those that do not are read, whatever was expected of their number.
func TestRowsThatStayAreReadWhateverMovesAroundThem(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := devices(rapid.IntRange(0, 900).Draw(rt, "devices"))
		e := platform(emulator.Options{})
		id, err := e.AddTask(emulator.Task{Name: "fw", Type: iotda.FirmwareUpgrade, Devices: all})
		require.NoError(rt, err)
		c := client(t, e, func(o *iotdaclient.Options) { o.Concurrency = 16 })
		seen, before := map[string]bool{}, 0
		for from := (iotdaclient.From{Rows: rapid.IntRange(-5, 1200).Draw(rt, "expected")}); ; {
			pages := rapid.IntRange(1, iotdaclient.MaxWavePages).Draw(rt, "pages")
			w, err := c.Wave(t.Context(), id, iotdaclient.Query{Status: iotda.SubtaskFail}, from, pages)
			require.NoError(rt, err)
			require.LessOrEqual(rt, len(e.Calls())-before, pages)
			before = len(e.Calls())
			for _, s := range w.Subtasks {
				require.False(rt, seen[s.Target], "it is further down")
				seen[s.Target] = true
			}
			// What has been read is retried, and leaves; of what has not, some leaves too.
			leave := rapid.IntRange(0, len(w.Subtasks)).Draw(rt, "leave")
			for _, s := range w.Subtasks[:leave] {
				e.ConsoleRetry(id, s.Target)
			}
			if w.End {
				break
			}
			require.GreaterOrEqual(rt, w.Left, 0)
			from = iotdaclient.From{Marker: w.Next, Rows: w.Left + rapid.IntRange(-200, 200).Draw(rt, "wrong by")}
		}
		require.Len(rt, seen, len(all))
	})
}

// TestWhatAWaveSaysOfTheProgressIsOfItsFirstAndItsLastPage: whichever of the pages, read at the same time, was first.
func TestWhatAWaveSaysOfTheProgressIsOfItsFirstAndItsLastPage(t *testing.T) {
	e := platform(emulator.Options{})
	id := addTask(t, e, 130)
	var n atomic.Int64
	var once sync.Mutex
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Lock()
		defer once.Unlock()
		if n.Add(1) == 2 {
			e.ConsoleRetry(id, "d-0000")
		}
		e.ServeHTTP(w, r)
	})
	c := client(t, h, func(o *iotdaclient.Options) { o.Concurrency = 1 }) // one page after the other
	w, err := c.Wave(t.Context(), id, iotdaclient.Query{Status: iotda.SubtaskFail}, iotdaclient.From{Rows: 130}, iotdaclient.MaxWavePages)
	require.NoError(t, err)
	require.Equal(t, 130, w.First.Fail)
	require.Equal(t, 129, w.Task.Progress.Fail)
	require.True(t, w.End)
}
