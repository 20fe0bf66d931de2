package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"sort"

	"retryd/internal/policy"
)

// cover is a set of devices as sorted hashes, 8 bytes each: two devices of one hash would at
// worst keep one of them waiting.
type cover []byte

func newCover(devices []string) cover {
	if len(devices) == 0 {
		return nil
	}
	hashes := make([]uint64, len(devices))
	for i, d := range devices {
		hashes[i] = hashOf(d)
	}
	slices.Sort(hashes)
	c := make(cover, 0, 8*len(hashes))
	for _, h := range hashes {
		c = binary.BigEndian.AppendUint64(c, h)
	}
	return c
}

func hashOf(device string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(device))
	return h.Sum64()
}

func (c cover) has(device string) bool {
	wanted := hashOf(device)
	i := sort.Search(len(c)/8, func(i int) bool { return binary.BigEndian.Uint64(c[8*i:]) >= wanted })
	return i < len(c)/8 && binary.BigEndian.Uint64(c[8*i:]) == wanted
}

// addWhole adds to the records of devices what was done with whole tasks: an attempt of their
// task counts as one of each of them, and an open one keeps its devices from being retried in
// any task.
func addWhole(ctx context.Context, q queryer, projectID, taskID string, devices []string, found map[string]Record) error {
	var own Record
	var firstAt, seenAt int64
	var tried bool
	err := each(ctx, q, func(rows *sql.Rows) error {
		tried = true
		return rows.Scan(&own.Counted, &firstAt, &own.State, &seenAt)
	}, `SELECT counted, first_at, state, seen_at FROM targets WHERE project_id = ? AND task_id = ? AND device_id = '*' AND counted > 0`, projectID, taskID)
	if err != nil {
		return fmt.Errorf("read the attempts of the whole task: %w", err)
	}
	own.FirstAt, own.SeenAt = fromMicros(firstAt), fromMicros(seenAt)
	for _, device := range devices {
		if !tried || device == policy.WholeTask {
			continue
		}
		r := found[device]
		if r.FirstAt.IsZero() || own.FirstAt.Before(r.FirstAt) {
			r.FirstAt = own.FirstAt
		}
		if own.SeenAt.After(r.SeenAt) {
			r.SeenAt, r.State = own.SeenAt, own.State
		}
		r.Counted += own.Counted
		found[device] = r
	}
	err = each(ctx, q, func(rows *sql.Rows) error {
		var open openAttempt
		var c cover
		if err := rows.Scan(&open.task, &open.n, &open.since, &c); err != nil {
			return err
		}
		for _, device := range devices {
			if device != policy.WholeTask && (open.task == taskID || c.has(device)) {
				found[device] = open.of(found[device])
			}
		}
		return nil
	}, `SELECT task_id, n, claimed_at, covers FROM attempts @by_open_whole WHERE project_id = ? AND device_id = '*' AND `+openStates, projectID)
	if err != nil {
		return fmt.Errorf("read the open attempts of whole tasks: %w", err)
	}
	return nil
}

// list gives texts as a statement takes them for @list.
func list(texts []string) (string, error) {
	plain := make([]string, len(texts))
	for i, t := range texts {
		plain[i] = clean(t)
	}
	rows, err := json.Marshal(plain)
	if err != nil {
		return "", fmt.Errorf("list texts: %w", err)
	}
	return string(rows), nil
}

// keeps tells whether a device's id can be a key as it is. The platform's have 128 characters at
// most, of letters, digits, _ and -.
func keeps(device string) bool { return len(device) <= 256 && clean(device) == device }
