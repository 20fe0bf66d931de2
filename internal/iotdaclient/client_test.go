package iotdaclient_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const project = "0123456789abcdef0123456789abcdef"

func devices(n int) []emulator.Device {
	all := make([]emulator.Device, n)
	for i := range all {
		all[i] = emulator.Device{ID: fmt.Sprintf("d-%04d", i), Status: iotda.SubtaskFail, Fate: emulator.Fate{RecoverAt: 1}}
	}
	return all
}

func platform(o emulator.Options) *emulator.Emulator {
	o.ProjectID, o.Keys = project, map[string]string{"key": "secret"}
	return emulator.New(o)
}

func client(t testing.TB, handler http.Handler, change func(*iotdaclient.Options)) *iotdaclient.Client {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	o := iotdaclient.Options{
		Name: "prod", Endpoint: server.URL, Region: "cn-north-4", ProjectID: project,
		Credentials: iotdaclient.Key{AccessKey: "key", SecretKey: "secret", Signing: iotdaclient.SigningAuto},
		Budget:      iotdaclient.NewBudget(10000, 1000), Guards: iotdaclient.NewGuards(), Concurrency: 4, Timeout: 5 * time.Second,
		Backoff: iotdaclient.Backoff{Initial: time.Millisecond, Multiplier: 2, Max: 10 * time.Millisecond, MaxElapsed: 200 * time.Millisecond},
	}
	if change != nil {
		change(&o)
	}
	c, err := iotdaclient.New(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func addTask(t testing.TB, e *emulator.Emulator, n int) string {
	id, err := e.AddTask(emulator.Task{Name: "fw", Type: iotda.FirmwareUpgrade, Devices: devices(n)})
	require.NoError(t, err)
	return id
}

func TestEveryTaskAndSubtaskIsReadOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := platform(emulator.Options{})
		n := rapid.SampledFrom([]int{1, 49, 50, 51, 100, 549, 550, 551, 700}).Draw(rt, "rows")
		id := addTask(t, e, n)
		for range rapid.SampledFrom([]int{0, 48, 49, 50, 101}).Draw(rt, "tasks") {
			addTask(t, e, 1)
		}
		c := client(t, e, nil)
		tasks, seen := map[string]int{}, map[string]int{}
		_, err := c.EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(task iotda.Task) error { tasks[task.ID]++; return nil })
		require.NoError(rt, err)
		for marker := ""; ; {
			w, err := c.Wave(t.Context(), id, iotdaclient.Query{Status: iotda.SubtaskFail}, iotdaclient.From{Marker: marker}, rapid.IntRange(1, 11).Draw(rt, "pages"))
			require.NoError(rt, err)
			for _, s := range w.Subtasks {
				seen[s.Target]++
			}
			if w.End {
				break
			}
			marker = w.Next
		}
		require.Len(rt, seen, n)
		for _, times := range seen {
			require.Equal(rt, 1, times)
		}
		for _, times := range tasks {
			require.Equal(rt, 1, times)
		}
	})
}

// TestARetryCallSaysWhatReachedThePlatform is the proof that released attempts need.
func TestARetryCallSaysWhatReachedThePlatform(t *testing.T) {
	noEffect := map[emulator.Fault]bool{emulator.FaultThrottled: true, emulator.FaultRefused: true, emulator.FaultGone: true}
	answered := map[emulator.Fault]iotdaclient.Result{
		emulator.FaultUnknownStatus: iotdaclient.Unknown, emulator.FaultDoubleRow: iotdaclient.Unknown, emulator.FaultMissingRow: iotdaclient.Unknown,
		emulator.FaultUnknownField: iotdaclient.Accepted, emulator.FaultExtraRow: iotdaclient.Accepted,
	}
	for _, fault := range emulator.Faults() {
		t.Run(string(fault), func(t *testing.T) {
			e := platform(emulator.Options{})
			id := addTask(t, e, 1)
			e.SetFault(func(emulator.Call) emulator.Fault { return fault })
			answer, err := client(t, e, nil).RetryTask(t.Context(), id, []string{"d-0000"}, nil)
			require.Len(t, e.Calls(), 1, "it is sent once")
			if want, ok := answered[fault]; ok {
				require.Nil(t, err)
				require.Equal(t, want, answer.Targets["d-0000"].Result)
				require.Equal(t, fault == emulator.FaultExtraRow, len(answer.Unasked) == 1)
				return
			}
			require.NotNil(t, err)
			require.Equal(t, noEffect[fault], err.NoEffect())
			require.False(t, err.NoEffect() && len(e.Retries()) > 0, "it happened")
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestACallThatNeverLeftHadNoEffect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close()) // nobody listens there now
	c := client(t, platform(emulator.Options{}), func(o *iotdaclient.Options) { o.Endpoint = "http://" + l.Addr().String() })
	_, e := c.RetryTask(t.Context(), "ab", []string{"d"}, nil)
	require.NotNil(t, e)
	require.True(t, e.NoEffect())
}

func TestCodedRefusalsHadNoEffectAndOthersMayHave(t *testing.T) {
	for _, c := range []struct {
		status   int
		body     string
		noEffect bool
	}{
		{400, `{"error_code":"IOTDA.000006","error_msg":"Invalid input data."}`, true},
		{403, `{"error_code":"IOTDA.014217","error_msg":"x"}`, true},
		{404, `{"error_code":"APIGW.0101","error_msg":"x"}`, true},
		{413, `{"error_code":"APIG.0201","error_msg":"x"}`, true},
		{429, ``, true},
		{403, `<html>`, false},
		{404, `{"error":"no route"}`, false},
		{500, `{"error_code":"IOTDA.000005","error_msg":"x"}`, false},
		{503, `{"error_code":"APIGW.0601","error_msg":"x"}`, false},
		{409, `{"error_code":"IOTDA.1","error_msg":"x"}`, false},
	} {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		})
		_, e := client(t, h, nil).RetryTask(t.Context(), "ab", []string{"d"}, nil)
		require.NotNil(t, e)
		require.Equal(t, c.noEffect, e.NoEffect(), "%d %s", c.status, c.body)
	}
}

func TestReadsAreRepeatedWhileTheErrorPasses(t *testing.T) {
	for _, fault := range []emulator.Fault{emulator.Fault503HTML, emulator.Fault502, emulator.FaultCut, emulator.FaultCutBody, emulator.FaultHTML, emulator.FaultWrongTypes} {
		e := platform(emulator.Options{})
		id := addTask(t, e, 3)
		e.SetFault(func(c emulator.Call) emulator.Fault {
			if c.N < 2 {
				return fault
			}
			return ""
		})
		page, err := client(t, e, nil).Subtasks(t.Context(), id, iotdaclient.Query{}, "", 0)
		require.NoError(t, err, fault)
		require.Len(t, page.Subtasks, 3)
		require.Len(t, e.Calls(), 3)
	}
}

func TestARedirectIsNotFollowedAndNamed(t *testing.T) {
	e := platform(emulator.Options{})
	e.SetFault(func(emulator.Call) emulator.Fault { return emulator.FaultRedirect })
	_, err := client(t, e, nil).EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(iotda.Task) error { return nil })
	require.ErrorContains(t, err, "the endpoint redirects, which is not followed")
	require.Len(t, e.Calls(), 1)
}

func TestACallEndsWithItsContextAndItsTimeout(t *testing.T) {
	e := platform(emulator.Options{Latency: time.Minute})
	id := addTask(t, e, 1)
	c := client(t, e, func(o *iotdaclient.Options) { o.Timeout = 50 * time.Millisecond })
	_, err := c.Subtasks(t.Context(), id, iotdaclient.Query{}, "", 0)
	require.ErrorContains(t, err, "no answer in time")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Subtasks(ctx, id, iotdaclient.Query{}, "", 0)
	require.True(t, errors.Is(err, context.Canceled))
}

func TestARetryNamesOneToAHundredTargets(t *testing.T) {
	e := platform(emulator.Options{})
	id := addTask(t, e, 3)
	c := client(t, e, nil)
	for _, n := range []int{0, 101} {
		_, err := c.RetryTask(t.Context(), id, make([]string, n), nil)
		require.NotNil(t, err)
		require.True(t, err.NoEffect())
	}
	require.Empty(t, e.Calls(), "an empty list might mean all")
}

func TestAWaveSaysWhereItsPagesHaveTooManyRowsOrTooFew(t *testing.T) {
	e := platform(emulator.Options{})
	id := addTask(t, e, 130)
	c := client(t, e, nil)
	for page, faults := range map[string][]emulator.Fault{"": {""}, "0": {emulator.FaultExtraRow}, "50": {emulator.FaultExtraRow, emulator.FaultMissingRow}} {
		for _, fault := range faults {
			e.SetFault(func(call emulator.Call) emulator.Fault {
				if offset := call.Query.Get("offset"); page != "" && (offset == page || offset == "" && page == "0") {
					return fault
				}
				return ""
			})
			w, err := c.Wave(t.Context(), id, iotdaclient.Query{Status: iotda.SubtaskFail}, iotdaclient.From{}, iotdaclient.MaxWavePages)
			require.NoError(t, err)
			require.Equal(t, page != "", w.Uneven, "%s on page %s", fault, page)
		}
	}
}

func BenchmarkWave(b *testing.B) {
	e := platform(emulator.Options{})
	id := addTask(b, e, 550)
	c := client(b, e, func(o *iotdaclient.Options) { o.Budget = iotdaclient.NewBudget(1e9, 1e9) })
	for b.Loop() {
		w, err := c.Wave(b.Context(), id, iotdaclient.Query{Status: iotda.SubtaskFail}, iotdaclient.From{}, iotdaclient.MaxWavePages)
		if err != nil || len(w.Subtasks) != 550 {
			b.Fatal(err, len(w.Subtasks))
		}
	}
}

func TestAPrivateAuthorityIsTrustedThroughItsFile(t *testing.T) {
	e := platform(emulator.Options{})
	server := httptest.NewTLSServer(e)
	defer server.Close()
	folder := t.TempDir()
	ca, bad := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "bad.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	require.NoError(t, os.WriteFile(bad, []byte("none"), 0o600))
	list := func(file string) error {
		c := client(t, e, func(o *iotdaclient.Options) { o.Endpoint, o.CAFile = server.URL, file })
		_, err := c.EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(iotda.Task) error { return nil })
		return err
	}
	require.NoError(t, list(ca))
	require.ErrorContains(t, list(""), "certificate")
	_, err := iotdaclient.New(iotdaclient.Options{Name: "prod", Endpoint: server.URL, CAFile: bad})
	require.ErrorContains(t, err, "holds no certificate")
}
