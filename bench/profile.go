package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// profiler is added to the program where it is to be profiled: it has no flag for it.
const profiler = `package main

import (
	"os"
	"runtime"
	"runtime/pprof"
)

func profiled(run func() int) int {
	to := os.Getenv("RETRYD_BENCH_PROFILE")
	f, err := os.CreateTemp(to, "cpu-*.pprof")
	if err != nil {
		panic(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		panic(err)
	}
	code := run()
	pprof.StopCPUProfile()
	f.Close()
	f, err = os.CreateTemp(to, "allocs-*.pprof")
	if err != nil {
		panic(err)
	}
	runtime.GC()
	pprof.Lookup("allocs").WriteTo(f, 0)
	f.Close()
	return code
}
`

// profiling writes an overlay that builds retryd with the profiler, and gives the flag for it.
func (w *workshop) profiling() (string, error) {
	const name = "cmd/retryd/main.go"
	root, err := filepath.Abs(".")
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return "", fmt.Errorf("a profile is made from the sources: run bench where they are: %w", err)
	}
	const call = "run(ctx, os.Args[1:], os.Stdout, os.Stderr)"
	if !strings.Contains(string(source), call) {
		return "", fmt.Errorf("%s does not call %s any more", name, call)
	}
	changed := strings.Replace(string(source), call, "profiled(func() int { return "+call+" })", 1)
	overlay := map[string]map[string]string{"Replace": {}}
	for file, text := range map[string]string{"main.go": changed, "profiled.go": profiler} {
		there := filepath.Join(w.folder, file)
		if err := os.WriteFile(there, []byte(text), 0o600); err != nil {
			return "", err
		}
		overlay["Replace"][filepath.Join(root, "cmd/retryd", file)] = there
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(w.folder, "overlay.json")
	return "-overlay=" + file, os.WriteFile(file, data, 0o600)
}
