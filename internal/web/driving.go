package web

import (
	"context"
	"slices"
	"time"

	"retryd/internal/store"
)

// aliveFor is how long a process that writes to a ledger of its own is taken to be alive after its
// last sign of life, of which there is one a minute, where its lock does not tell.
const aliveFor = 3 * time.Minute

// driving is who drives what, as far as they have said so lately.
type driving struct {
	replicas []store.Replica
	by       map[string]string // replica's id, by identity of the connection
}

func (s *server) driving(ctx context.Context) (driving, error) {
	alive := aliveFor
	if s.Store.Shared() {
		alive = s.Config().Lease.TTL
	}
	if driven, known := s.Store.Driven(); known && !driven {
		return driving{}, nil
	}
	leases, replicas, err := s.Store.Leases(ctx, alive)
	d := driving{replicas, map[string]string{}}
	now := s.now()
	for budget, lease := range leases {
		if s.Store.Shared() && lease.Free(now) { // elsewhere a lease ends with its process
			continue
		}
		for _, r := range replicas {
			if r.ID == lease.Holder {
				for _, identity := range r.Budgets[budget] {
					d.by[identity] = r.ID
				}
			}
		}
	}
	return d, err
}

// replicasOf gives the replicas with what they drive of the configured connections.
func (d driving) replicasOf(connections []Connection) []Replica {
	return mapped(d.replicas, func(r store.Replica) Replica {
		out := Replica{ID: r.ID, Host: r.Host, Version: r.Version, ConfigHash: r.ConfigHash, Started: r.Started, Seen: r.Seen, Drives: []string{}}
		for _, c := range connections {
			if c.DrivenBy == r.ID {
				out.Drives = append(out.Drives, c.Name)
			}
		}
		slices.Sort(out.Drives)
		return out
	})
}
