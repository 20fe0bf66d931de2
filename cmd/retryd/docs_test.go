package main

import (
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"retryd/internal/config"
	"retryd/internal/metrics"
	"retryd/internal/policy"
	"retryd/internal/scheduler"
)

func readme(t *testing.T) string {
	data, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	return string(data)
}

// firstColumn gives the names in backquotes that begin the rows of tables.
func firstColumn(text, form string) (names []string) {
	for _, m := range regexp.MustCompile("(?m)^\\| `("+form+")` ").FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// registered remembers the names of what is registered.
type registered struct {
	prometheus.Registerer
	names []string
}

var descName = regexp.MustCompile(`fqName: "([^"]+)"`)

func (r *registered) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		ch := make(chan *prometheus.Desc, 10)
		c.Describe(ch)
		r.names = append(r.names, descName.FindStringSubmatch((<-ch).String())[1])
	}
}

func TestTheReadmeListsEveryMetricAndNoOther(t *testing.T) {
	r := &registered{Registerer: prometheus.NewRegistry()}
	m := metrics.New(r, scheduler.Known())
	m.Info("v", "go", "hash")
	m.Ledger(time.Time{}, func() (int64, int64) { return 0, 0 })
	listed := firstColumn(readme(t), "retryd_[a-z_]+")
	slices.Sort(listed)
	slices.Sort(r.names)
	require.Equal(t, r.names, listed)
}

func TestTheReadmeListsEveryReasonInOrder(t *testing.T) {
	var want []string
	for _, reason := range slices.Concat(policy.TaskReasons(), policy.TargetReasons()) {
		want = append(want, string(reason))
	}
	text := readme(t)
	section := text[regexp.MustCompile(`(?m)^## How it decides`).FindStringIndex(text)[0]:regexp.MustCompile(`(?m)^## Configure it`).FindStringIndex(text)[0]]
	require.Equal(t, want, firstColumn(section, "[a-z_]+"))
}

func TestTheReadmesConfigurationIsTheSmallestExample(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(readme(t))
	require.NotNil(t, block)
	text := regexp.MustCompile(`(?m)^ {3}`).ReplaceAllString(block[1], "")
	env := func(string) (string, bool) { return "x", true }
	quoted, err := config.Parse("f.yaml", []byte(text), env)
	require.NoError(t, err)
	data, err := os.ReadFile("../../configs/retryd.yaml")
	require.NoError(t, err)
	example, err := config.Parse("f.yaml", data, env)
	require.NoError(t, err)
	quoted.Hash, example.Hash = "", ""
	require.Equal(t, example, quoted)
}
