package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// hostile are texts that a database may trip over.
var hostile = []string{
	"zero \x00 byte", "\x00", "broken \xff\xfe\xc3 UTF-8", "four bytes 🔥𝄞", `quotes ' " \ ; -- \u0000 ? $1 @list %`, strings.Repeat("long é", 1500), "null", "{}", "\ufffd", "line\nbreak\r\t", "",
}

// kept is what remains of a text.
func kept(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\ufffd"), "\ufffd")
}

func TestTextsOfEveryKindAreWrittenAndReadBack(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		for n, text := range hostile {
			p.sleep(time.Minute)
			shown := store.Task{ID: task, Name: text, Type: "firmwareUpgrade", Status: text, Identity: text, AppID: text, AppName: text, CreatedAt: epoch}
			require.NoError(t, s.SeeTasks(t.Context(), project, []store.Task{shown}))
			require.NoError(t, s.RefuseTask(t.Context(), project, task, text))
			task := known(t, s)[task]
			for _, got := range []string{task.Name, task.Status, task.Identity, task.AppID, task.AppName, task.RefusedAs} {
				require.Equal(t, kept(text), got)
			}
			if text != "" {
				found, err := s.FindTasks(t.Context(), text)
				require.NoError(t, err)
				require.Len(t, found, 1)
			}
			claimed, _, err := s.Claim(t.Context(), claim(task.ID, 999, store.Candidate{DeviceID: "d", LastN: n}))
			require.NoError(t, err)
			require.Len(t, claimed, 1)
			_, err = s.Answered(t.Context(), project, task.ID, []store.Answer{{
				Claimed: claimed[0], State: policy.Rejected, AnsweredAt: p.now, Code: text, Text: text, RequestID: text, Cause: policy.Cause{Name: text, Class: policy.CauseClass(text)},
			}})
			require.NoError(t, err)
			r := record(t, s, task.ID, "d")
			require.Equal(t, []string{kept(text), kept(text)}, []string{r.RejectCode, r.RejectText})
			attempt(t, s, "e", n, policy.Accepted)
			open, err := s.OpenAttempts(t.Context(), project, task.ID)
			require.NoError(t, err)
			o := policy.Settlement{Attempt: open[0], At: p.now, Detail: text, Code: text, Text: text, Cause: policy.Cause{Name: text, Class: policy.CauseClass(text)}}
			o.State = policy.Failed
			_, trips, err := s.WouldTrip(t.Context(), scope(task.ID), policy.Halt{On: []policy.CauseClass{policy.CauseClass(text)}, FailureRatio: 0, MinOutcomes: 0}, []policy.Settlement{o})
			require.NoError(t, err)
			require.True(t, trips)
			settled, err := s.Settle(t.Context(), []policy.Settlement{o})
			require.NoError(t, err)
			require.Len(t, settled, 1)

			pause := store.Pause{Scope: store.PauseDevice, Connection: text, Identity: text, Policy: text, ProjectID: text, TaskID: text, DeviceID: text, Who: text, Why: text}
			action := store.Action{Who: text, Source: text, What: text, Subject: text, Why: text}
			pauseNow(t, s, action, pause)
			held, err := s.Pauses(t.Context())
			require.NoError(t, err)
			require.Equal(t, kept(text), held[0].Why)
			require.Equal(t, kept(text), held[0].DeviceID)
			_, _, err = s.OpenIn(t.Context(), pause)
			require.NoError(t, err)
			ended, err := s.Resume(t.Context(), action, pause)
			require.NoError(t, err)
			require.Len(t, ended.Pauses, 1)
			approval := store.Approval{ProjectID: project, TaskID: task.ID, Policy: "upgrades", PolicyHash: text, Who: text, Why: text, Until: p.now.Add(time.Hour)}
			approveNow(t, s, action, approval)
			order := store.Order{Devices: []string{kept(text)}}
			asked, _, err := s.Ask(t.Context(), action, store.Request{Kind: store.RetryRequest, Identity: text, Connection: text, Policy: text, ProjectID: text, TaskID: text, Order: order})
			require.NoError(t, err)
			taken, _, err := s.TakeRequest(t.Context(), text)
			require.NoError(t, err)
			require.Equal(t, []string{kept(text), kept(text)}, []string{taken.Why, taken.TaskID})
			require.Equal(t, order, taken.Order)
			require.NoError(t, s.EndRequest(t.Context(), asked[0].ID, store.RequestDone, store.Outcome{Left: []store.Left{{DeviceID: text}}, Problems: []string{text}}))
			tick := store.Tick{Policy: "p", Connection: "c", Tick: p.now, Why: text}
			require.NoError(t, s.SkipTick(t.Context(), tick))
			tick.Tick, tick.Started, tick.Finished, tick.Result, tick.Counts = p.now.Add(time.Second), p.now, p.now, "complete", map[string]int{kept(text): 1}
			_, err = s.StartTick(t.Context(), tick)
			require.NoError(t, err)
			require.NoError(t, s.FinishTick(t.Context(), tick))
			last, _, err := s.LastComplete(t.Context(), "p", "c")
			require.NoError(t, err)
			require.Equal(t, tick.Counts, last.Counts)
		}
	})
}

func TestADeviceWhoseIDIsNoneIsLeftOutAndTheRestGo(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		var candidates []store.Candidate
		var devices []string
		closings := store.Closings{ProjectID: project, TaskID: "bb"}
		left := 0
		for _, id := range hostile {
			candidates = append(candidates, store.Candidate{DeviceID: id})
			devices = append(devices, id)
			closings.Targets = append(closings.Targets, store.Closing{DeviceID: id, Outcome: "permanent"})
			if kept(id) != id || len(id) > 256 {
				left++
			}
		}
		claimed, dropped, err := s.Claim(t.Context(), claim(task, 1, candidates...))
		require.NoError(t, err)
		require.Len(t, dropped, left)
		require.Len(t, claimed, len(hostile)-left)
		for _, d := range dropped {
			require.Equal(t, "its id is none that the ledger can keep", d.Why)
		}
		records, err := s.Records(t.Context(), project, task, devices)
		require.NoError(t, err)
		for _, c := range claimed {
			require.Equal(t, task, records[c.DeviceID].OpenTask, "%q", c.DeviceID)
			changed, err := s.Answered(t.Context(), project, task, []store.Answer{{Claimed: c, State: policy.Accepted, AnsweredAt: p.now}})
			require.NoError(t, err)
			require.Len(t, changed, 1)
		}
		open, err := s.OpenAttempts(t.Context(), project, task)
		require.NoError(t, err)
		require.Len(t, open, len(claimed))
		closed, err := s.CloseTargets(t.Context(), closings)
		require.NoError(t, err)
		require.Len(t, closed, len(claimed))
		whole := claim("cc", 1, store.Candidate{DeviceID: policy.WholeTask})
		whole.ProjectID, whole.Covers = "another", devices
		claimed, _, err = s.Claim(t.Context(), whole)
		require.NoError(t, err)
		require.Len(t, claimed, 1)
		_, err = s.Undo(t.Context(), project, task, devices, p.now)
		require.NoError(t, err)
		_, err = s.Unresolved(t.Context(), project, task, "\x00\xff", 5)
		require.NoError(t, err)
	})
}

func TestNamesOfCredentialsAndReplicasMayBeAnyText(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		s := p.open(t)
		for _, text := range hostile {
			if len(text) > 256 {
				continue // these are ours
			}
			id, _, err := s.BeginAuth(t.Context(), text, within)
			require.NoError(t, err)
			require.NoError(t, s.EndAuth(t.Context(), id, false))
			r := replica(kept(text), map[string][]string{kept(text): {kept(text)}})
			r.Host, r.Version, r.ConfigHash = text, text, text
			a := acquire(t, s, text, r)
			require.Empty(t, a.Taken)
			require.NoError(t, s.Under(a.Lease).Writable(t.Context()))
			require.NoError(t, s.Release(t.Context(), a.Lease))
			require.NoError(t, s.Leave(t.Context(), text))
		}
		_, replicas, err := s.Leases(t.Context(), time.Hour)
		require.NoError(t, err)
		require.Empty(t, replicas)
	})
}
