package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/config"
	"retryd/internal/store"
	"retryd/internal/web"
)

// silent is a configuration in a folder of its own, with a ledger; somebody listens at its address
// and says nothing.
func silent(t *testing.T) (file string) {
	l, err := listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	folder := t.TempDir()
	file = filepath.Join(folder, "retryd.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "server: {listen: %q}\n%s", l.Addr(), sample("127.0.0.1:1")), 0o600))
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(folder, "retryd.db"), Create: true})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	return file
}

func TestACommandDoesNotWaitForADaemonThatSaysNothing(t *testing.T) {
	t.Parallel()
	var out, said bytes.Buffer
	require.Equal(t, exitDone, run(t.Context(), []string{"-c", silent(t), "status"}, &out, &said), &said)
	require.Contains(t, out.String(), "No daemon runs; ledger ")
	require.Contains(t, said.String(), "The ledger itself is used: no daemon answers at http://127.0.0.1:")
}

// refuser is a daemon that lets nobody act who asks, with a ledger and a configuration.
type refuser struct {
	ledger, config string
	asked          int
}

func (r *refuser) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked++
	w.Header().Set(web.LedgerIDHeader, r.ledger)
	if req.URL.Path == "/api/v1/status" {
		_ = writeJSON(w, web.Status{ConfigHash: r.config})
		return
	}
	refuse(w, req, http.StatusForbidden, "nobody may act here")
}

// like gives such a daemon that has the ledger and the configuration of the file.
func like(t *testing.T, file string) *refuser {
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(filepath.Dir(file), "retryd.db"), ReadOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	id, err := s.ID(t.Context())
	require.NoError(t, err)
	c, err := config.Load([]string{file}, env)
	require.NoError(t, err)
	return &refuser{ledger: id, config: c.Hash}
}

// refusedBy is the API of a command whose daemon lets it not act.
func refusedBy(t *testing.T, daemon http.Handler, file string, byVariable bool) *api {
	own := &inHouse{a: &app{ctx: t.Context(), config: []string{file}, stdout: io.Discard, stderr: io.Discard}}
	p := &api{clientOf(&orInHouse{web.InProcess{Handler: daemon}, own, "there", byVariable}, "http://retryd"), own}
	t.Cleanup(p.close)
	return p
}

func pauseBy(t *testing.T, p *api, s web.Scope) (paused web.Paused, err error) {
	return paused, p.Post(t.Context(), "pauses", web.NewPause{Scope: s, Why: "test"}, &paused, rand.Text())
}

var allOfIt = web.Scope{All: true}

func TestWhatADaemonRefusesIsDoneInHouseWhereTheLedgerCanBeWritten(t *testing.T) {
	t.Parallel()
	file := silent(t)
	daemon := like(t, file)
	p := refusedBy(t, daemon, file, false)
	paused, err := pauseBy(t, p, allOfIt)
	require.NoError(t, err)
	require.Equal(t, who(), paused.Items[0].Who)
	require.ErrorContains(t, p.Get(t.Context(), "sweeps", nil, nil), "nobody may act here", "who may not look is not helped to")
	require.Equal(t, 2, daemon.asked)
	p.close()

	replace(t, file, strings.ReplaceAll(string(must(os.ReadFile(file))), "policies:", "store: {url: \"sqlite:none.db\"}\npolicies:"))
	p = refusedBy(t, daemon, file, false)
	for range 2 {
		_, err = pauseBy(t, p, allOfIt)
		require.EqualError(t, err, "nobody may act here", "the first time and the second")
	}
}

func TestNothingIsDoneInHouseOnAnotherLedgerThanTheDaemons(t *testing.T) {
	t.Parallel()
	file := silent(t)
	for _, id := range []string{"0123456789abcdef", ""} {
		daemon := like(t, file)
		daemon.ledger = id
		_, err := pauseBy(t, refusedBy(t, daemon, file, false), allOfIt)
		require.ErrorContains(t, err, "the daemon at there has another ledger than this one of the same name, ")
		require.ErrorContains(t, err, "use --url")
		_, err = pauseBy(t, refusedBy(t, daemon, file, true), allOfIt)
		require.EqualError(t, err, "nobody may act here", "$RETRYD_URL can name any daemon")
	}
	var pauses web.List[web.Pause]
	p := refusedBy(t, like(t, file), file, false)
	require.NoError(t, p.own.open())
	require.NoError(t, clientOf(p.own, "http://retryd").Get(t.Context(), "pauses", nil, &pauses))
	require.Empty(t, pauses.Items)
}

func TestWhatDependsOnTheConfigurationIsDoneInHouseOnlyByThatInForce(t *testing.T) {
	t.Parallel()
	file := silent(t)
	inForce := like(t, file)
	other := *inForce
	other.config = "0123456789ab"
	for name, do := range map[string]func(p *api) error{
		"approve": func(p *api) error { return p.Post(t.Context(), "approvals", web.NewApproval{}, nil, rand.Text()) },
		"retry":   func(p *api) error { return p.Post(t.Context(), "retries", web.NewRetry{}, nil, rand.Text()) },
		"sweep": func(p *api) error {
			return p.Post(t.Context(), "sweeps", web.NewSweep{Policies: []string{"x"}}, nil, rand.Text())
		},
		"policy": func(p *api) error { _, err := pauseBy(t, p, web.Scope{Policy: "x"}); return err },
		"connection": func(p *api) error {
			return p.Delete(t.Context(), "pauses", url.Values{"connection": {"x"}, "why": {"x"}}, nil, rand.Text())
		},
	} {
		err := do(refusedBy(t, &other, file, false))
		require.EqualError(t, err, "the configuration here is not the one that the daemon at there has in force: `retryd reload` first", name)
		err = do(refusedBy(t, inForce, file, false))
		require.ErrorAs(t, err, new(*web.Problem), name)
		require.NotContains(t, err.Error(), "nobody may act here", name)
	}
	_, err := pauseBy(t, refusedBy(t, &other, file, false), allOfIt)
	require.NoError(t, err)
	_, err = pauseBy(t, refusedBy(t, &other, file, true), web.Scope{Task: "x"})
	require.ErrorContains(t, err, "no task with the id or name")
}
