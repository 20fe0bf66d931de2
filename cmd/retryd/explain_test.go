package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/web"
)

// TestWhatIsLeftOutOfAnExplanationIsAskedOfTheSameDaemon has a device with more of everything than is told one by one.
func TestWhatIsLeftOutOfAnExplanationIsAskedOfTheSameDaemon(t *testing.T) {
	t.Parallel()
	e := web.Explanation{DeviceID: "lamp 1"}
	for n := range mostHistory + 1 {
		e.History = append(e.History, web.Attempt{N: n + 1, TaskID: "aa", State: "failed"})
		e.Actions = append(e.Actions, web.Action{Who: "wei", What: "pause", Why: fmt.Sprintf("reason %d.", n+1)})
	}
	for _, c := range []struct {
		url    string
		config []string
		want   [2]string
	}{
		{"", nil, [2]string{"retryd attempts --device 'lamp 1'", "retryd actions"}},
		{"", []string{"a.yaml", "b.yaml"}, [2]string{"retryd -c a.yaml -c b.yaml attempts --device 'lamp 1'", "retryd -c a.yaml -c b.yaml actions"}},
		{"unix:/run/s", []string{"a.yaml"}, [2]string{"retryd attempts --url unix:/run/s --device 'lamp 1'", "retryd actions --url unix:/run/s"}},
	} {
		var out strings.Builder
		writeExplanation(&out, e, asker{URL: c.url}.again(&app{config: c.config}))
		for _, command := range c.want {
			require.Contains(t, out.String(), "\n  … and more: "+command+"\n")
			_, err := newParser(&cli{}, &out, &out).Parse(strings.Fields(strings.ReplaceAll(strings.TrimPrefix(command, "retryd "), "'lamp 1'", "lamp-1")))
			require.NoError(t, err)
		}
		require.NotContains(t, out.String(), "reason 21.")
	}
}
