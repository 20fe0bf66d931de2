package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"retryd/internal/config"
)

type initCmd struct {
	File       string `arg:"" optional:"" help:"What to write; - is the standard output. Default: retryd.yaml."`
	Name       string `placeholder:"NAME" help:"Of the connection, for logs, metrics and policies. Default: prod."`
	Endpoint   string `placeholder:"URL" help:"The application access address in the console's Overview."`
	Region     string `placeholder:"REGION" help:"Where the instance is. Default: what the endpoint says."`
	ProjectID  string `name:"project-id" placeholder:"ID" help:"The 32 hex digits of the project in the console's My Credentials."`
	InstanceID string `name:"instance-id" placeholder:"ID" help:"Where the project has several instances."`
}

// Help says who is asked.
func (c initCmd) Help() string {
	return "On a terminal it asks for what no flag says, and again where an answer cannot be. Elsewhere it asks nothing: what no flag says has <…> in the file, and check names it."
}

// Run writes the configuration. On a terminal it asks for what no flag says.
func (c initCmd) Run(a *app) error {
	file, err := c.file(a)
	if err != nil {
		return err
	}
	c.Endpoint = withScheme(c.Endpoint)
	for _, q := range questions {
		if *q.value(&c) == "" {
			continue
		}
		wrong, unwise := c.problemOf(q.key)
		if wrong != "" {
			return failure{exitUsage, errors.New(wrong)}
		}
		if unwise != "" {
			printf(a.stderr, "%s (warning)\n", unwise)
		}
	}
	if err := c.ask(a); err != nil {
		return err
	}
	text := c.text()
	if file == "-" {
		printf(a.stdout, "%s", text)
		return nil
	}
	if err := writeNew(file, text); err != nil {
		return err
	}
	c.sayNext(a, file)
	return nil
}

// file gives what to write, which must not be there.
func (c initCmd) file(a *app) (string, error) {
	file := c.File
	switch {
	case len(a.config) > 1, file != "" && len(a.config) == 1:
		return "", failure{exitUsage, errors.New("init writes one file: name one, as an argument or with --config")}
	case file == "" && len(a.config) == 1:
		file = a.config[0]
	case file == "":
		file = config.Places()[0]
	}
	if _, err := os.Lstat(file); err == nil && file != "-" { // before anything is asked
		return "", taken(file)
	}
	return file, nil
}

func taken(file string) error {
	return fmt.Errorf("%s is there already, and init overwrites nothing: name another file", file)
}

// writeNew writes a file for its owner alone, which must not be there.
func writeNew(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return taken(file)
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the configuration: %w", err), os.Remove(file))
	}
	return nil
}

// sayNext says what is to be filled in, and what to do next.
func (c initCmd) sayNext(a *app, file string) {
	named := ""
	if file != config.Places()[0] {
		named = "-c " + quotedForShell(file) + " "
	}
	printf(a.stdout, "%s is written: it observes, and sends nothing.\n", file)
	if missing := c.missing(); len(missing) > 0 {
		printf(a.stdout, "Fill in %s, where it has <…>. Then:\n", strings.Join(missing, " and "))
	} else {
		printf(a.stdout, "Next:\n")
	}
	printf(a.stdout, "  retryd %scheck --connect\n  retryd %splan\n", named, named)
	if _, set := env("HUAWEICLOUD_SDK_AK"); !set {
		printf(a.stdout, "Who calls is found in $HUAWEICLOUD_SDK_AK and $HUAWEICLOUD_SDK_SK, which are not set here, in %s,\nor by the agency of the machine: the file says how to change that.\n",
			filepath.Join("~", ".huaweicloud", "credentials"))
	}
}

// quotedForShell writes a file's name as a shell takes it.
func quotedForShell(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/:-") == "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

func withScheme(endpoint string) string {
	endpoint = strings.TrimSpace(endpoint)
	if endpoint == "" || strings.Contains(endpoint, "://") {
		return endpoint
	}
	return "https://" + endpoint // the console shows the host alone
}
