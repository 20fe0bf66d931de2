package main

import (
	"runtime"
	"runtime/debug"
)

type version struct{ Version, Revision, Go string }

func readVersion() version {
	v := version{Version: "devel", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if m := info.Main.Version; m != "" && m != "(devel)" {
		v.Version = m
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Revision = s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(a *app) error {
	v := readVersion()
	printf(a.stdout, "retryd %s", v.Version)
	if v.Revision != "" {
		printf(a.stdout, " (%s)", v.Revision)
	}
	printf(a.stdout, " %s %s/%s\n", v.Go, runtime.GOOS, runtime.GOARCH)
	return nil
}
