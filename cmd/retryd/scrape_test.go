package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/store"
)

// daemonOn starts a daemon on a ledger in the folder, against a platform without tasks.
func daemonOn(t *testing.T, folder string) *daemon {
	platform := httptest.NewServer(newEmulator(emulator.Options{}))
	t.Cleanup(platform.Close)
	address, file := freeAddress(t), filepath.Join(folder, "retryd.yaml")
	text := fmt.Sprintf("server: {listen: %q}\n", address) + sample(strings.TrimPrefix(platform.URL, "http://"))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return startDaemon(t, address, "-c", file)
}

// scrape asks for the metrics in a form, and gives that and the answer.
func (d *daemon) scrape(accept string) (form, text string) {
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.url+"/metrics", nil)
	require.NoError(d.t, err)
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	require.Equal(d.t, http.StatusOK, resp.StatusCode)
	return resp.Header.Get("Content-Type"), string(body)
}

func TestMetricsAreServedInEachForm(t *testing.T) {
	t.Parallel()
	d := daemonOn(t, t.TempDir())
	d.until("how the connection stands is known", func() bool {
		_, text := d.ask(http.MethodGet, "/metrics")
		return strings.Contains(text, `retryd_connection_up{connection="emulator",reason=""} 1`)
	})
	form, plain := d.scrape("text/plain")
	require.Contains(t, form, "text/plain; version=0.0.4")
	for _, series := range []string{
		"retryd_ledger_write_duration_seconds_bucket{", "\ngo_goroutines ", "\nprocess_resident_memory_bytes ", "\nprocess_start_time_seconds ", "\nretryd_ledger_damaged 0",
	} {
		require.Contains(t, plain, series)
	}
	form, open := d.scrape("application/openmetrics-text; version=1.0.0")
	require.Contains(t, form, "application/openmetrics-text; version=1.0.0")
	require.True(t, strings.HasSuffix(open, "\n# EOF\n"))
	require.NotRegexp(t, `_created[ {]`, open, "it would be a series for each counter")
	require.Contains(t, open, "retryd_ledger_write_duration_seconds_bucket{")
	form, binary := d.scrape("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
	require.Contains(t, form, "encoding=delimited")
	require.Contains(t, binary, "retryd_sweep_api_calls")
	d.end()
}

// TestADaemonWhoseLedgerIsDamagedSaysSo where pages are lost in the middle of the list of actions: it
// starts, as nothing that it needs for that is on them.
func TestADaemonWhoseLedgerIsDamagedSaysSo(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	ledger := filepath.Join(folder, "retryd.db")
	s, err := store.Open(t.Context(), store.Options{Path: ledger, Create: true})
	require.NoError(t, err)
	for range 600 {
		_, _, err := s.Ask(t.Context(), store.Action{Who: "ann", What: "sweep", Why: strings.Repeat("why ", 200)}, store.Request{Kind: store.SweepRequest, Identity: "elsewhere"})
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
	data, err := os.ReadFile(ledger)
	require.NoError(t, err)
	var leaves [][]byte
	for page := range slices.Chunk(data, 4096) {
		if page[0] == 0x0d && bytes.Contains(page, []byte("why why why")) { // a leaf of a table [sqlite.org fileformat2 1.6]
			leaves = append(leaves, page)
		}
	}
	require.Greater(t, len(leaves), 50)
	for _, page := range leaves[len(leaves)/2:][:6] { // the list of requests has the same words
		clear(page)
	}
	require.NoError(t, os.WriteFile(ledger, data, 0o600))
	d := daemonOn(t, folder)
	_, text := d.ask(http.MethodGet, "/metrics")
	require.Contains(t, text, "\nretryd_ledger_damaged 0\n")
	status, text := d.ask(http.MethodGet, "/api/v1/actions?limit=1000")
	require.Equal(t, http.StatusInternalServerError, status, text)
	_, text = d.ask(http.MethodGet, "/metrics")
	require.Contains(t, text, "\nretryd_ledger_damaged 1\n")
	require.NotContains(t, text, "\nretryd_ledger_read_errors_total 0\n")
	d.until("it is not ready", func() bool { // an answer holds for a second
		status, text = d.ask(http.MethodGet, "/-/ready")
		return status == http.StatusServiceUnavailable
	})
	require.Contains(t, text, "not ready: the ledger's file is damaged: stop retryd, keep the file, and restore a backup")
	status, _ = d.ask(http.MethodGet, "/-/healthy")
	require.Equal(t, http.StatusOK, status, "a restart mends nothing")
	d.end()
}
