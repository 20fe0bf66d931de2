package main

import (
	"errors"
	"time"

	"retryd/internal/config"
)

type checkCmd struct {
	Files []string `arg:"" optional:"" name:"file" help:"Files to check; none = the one that run would use."`
}

// Run checks each file.
func (c checkCmd) Run(a *app) error {
	files := c.Files
	if len(files) == 0 {
		file, err := config.Find(a.config)
		if err != nil {
			return err
		}
		files = []string{file}
	}
	bad := 0
	for _, file := range files {
		checked, err := config.Load(file, env)
		if err != nil {
			bad++
			printf(a.stderr, "%s\n", err)
			continue
		}
		for _, warning := range checked.Warnings {
			printf(a.stderr, "%s (warning)\n", warning)
		}
		printf(a.stdout, "%s is valid: %s, %s\n", file, plural(len(checked.Connections), "connection"), plural2(len(checked.Policies), "policy", "policies"))
		for _, p := range checked.Policies {
			printf(a.stdout, "  %s: next %s\n", p.Name, p.Schedule.Next(time.Now()).Format("Mon 2 Jan 15:04:05 MST"))
		}
	}
	if bad > 0 {
		return errors.New(plural(bad, "file") + " cannot be used")
	}
	return nil
}

func plural2(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return plural(n, many[:len(many)-1])
}
