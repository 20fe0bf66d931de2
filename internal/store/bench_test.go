package store_test

import (
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/pgtest"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// benchEach runs a benchmark on each kind of database.
func benchEach(b *testing.B, f func(b *testing.B, s *store.Store)) {
	b.Run("SQLite", func(b *testing.B) {
		f(b, (&place{o: store.Options{Path: filepath.Join(b.TempDir(), "retryd.db")}}).open(b))
	})
	b.Run("PostgreSQL", func(b *testing.B) {
		f(b, (&place{o: store.Options{URL: pgtest.Database(b)}}).open(b))
	})
}

// of prefixes devices, so that those of several claims are apart.
func of(prefix string, n int) []store.Candidate {
	candidates := numbered(n)
	for i := range candidates {
		candidates[i].DeviceID = prefix + candidates[i].DeviceID
	}
	return candidates
}

func answersTo(s *store.Store, claimed []store.Claimed, state policy.State) []store.Answer {
	answers := make([]store.Answer, len(claimed))
	for i, c := range claimed {
		answers[i] = store.Answer{Claimed: c, State: state, AnsweredAt: s.Now()}
	}
	return answers
}

// BenchmarkClaimAndAnswer100 claims and answers 100 targets of a task.
func BenchmarkClaimAndAnswer100(b *testing.B) {
	benchEach(b, func(b *testing.B, s *store.Store) {
		candidates := numbered(100)
		for i := 0; b.Loop(); i++ {
			id := fmt.Sprintf("%x", i)
			claimed, _, err := s.Claim(b.Context(), claim(id, 5, candidates...))
			require.NoError(b, err)
			_, err = s.Answered(b.Context(), project, id, answersTo(s, claimed, policy.Rejected))
			require.NoError(b, err)
		}
	})
}

// BenchmarkClaimAndAnswer100OfTenNumbers does it where the targets have had none to nine attempts.
func BenchmarkClaimAndAnswer100OfTenNumbers(b *testing.B) {
	benchEach(b, func(b *testing.B, s *store.Store) {
		tried := numbered(100)
		round := func(candidates []store.Candidate) {
			claimed, _, err := s.Claim(b.Context(), claim("task", math.MaxInt, candidates...))
			require.NoError(b, err)
			require.Len(b, claimed, len(candidates))
			_, err = s.Answered(b.Context(), project, "task", answersTo(s, claimed, policy.Rejected))
			require.NoError(b, err)
			for i := range candidates {
				candidates[i].LastN++
			}
		}
		for n := range 10 {
			round(tried[10*n:])
		}
		for b.Loop() {
			round(tried)
		}
	})
}

// BenchmarkClaims16AtOnce has 16 goroutines claim and answer 100 targets each: they share commits.
func BenchmarkClaims16AtOnce(b *testing.B) {
	benchEach(b, func(b *testing.B, s *store.Store) {
		for i := 0; b.Loop(); i++ {
			var all sync.WaitGroup
			for g := range 16 {
				all.Go(func() {
					id := fmt.Sprintf("%x-%x", i, g)
					claimed, _, err := s.Claim(b.Context(), claim(id, 5, of(fmt.Sprint(g, "-"), 100)...))
					if err == nil {
						_, err = s.Answered(b.Context(), project, id, answersTo(s, claimed, policy.Rejected))
					}
					if err != nil {
						b.Error(err)
					}
				})
			}
			all.Wait()
		}
	})
}

// BenchmarkSettle1000 settles the attempts of a task, half of them as failed.
func BenchmarkSettle1000(b *testing.B) {
	benchEach(b, func(b *testing.B, s *store.Store) {
		candidates := numbered(1000)
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			id := fmt.Sprintf("%x", i)
			claimed, _, err := s.Claim(b.Context(), claim(id, 5, candidates...))
			require.NoError(b, err)
			_, err = s.Answered(b.Context(), project, id, answersTo(s, claimed, policy.Accepted))
			require.NoError(b, err)
			open, err := s.OpenAttempts(b.Context(), project, id)
			require.NoError(b, err)
			settlements := make([]policy.Settlement, len(open))
			for j, a := range open {
				settlements[j] = policy.Settlement{Attempt: a, At: s.Now(), Code: "IOTDA.1", Text: fmt.Sprint("why ", j)}
				settlements[j].State = []policy.State{policy.Failed, policy.Recovered}[j%2]
			}
			b.StartTimer()
			settled, err := s.Settle(b.Context(), settlements)
			require.NoError(b, err)
			require.Len(b, settled, 1000)
		}
	})
}
