package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// question is one value that init asks for.
type question struct {
	key, text string
	otherwise string // what an empty answer means; empty = it is left to be filled in
	value     func(*initCmd) *string
	needed    func(initCmd) bool
}

func always(initCmd) bool { return true }

// questions are asked in this order.
var questions = []question{
	{"endpoint", "Application access address, in the console's Overview", "", func(c *initCmd) *string { return &c.Endpoint }, always},
	{"region", "Region, which the address does not say, such as cn-north-4", "", func(c *initCmd) *string { return &c.Region }, initCmd.needsRegion},
	{"project_id", "Project id, 32 hex digits in My Credentials", "", func(c *initCmd) *string { return &c.ProjectID }, always},
	{"name", "Name of the connection, for logs and metrics", "prod", func(c *initCmd) *string { return &c.Name }, always},
}

// ask asks for what no flag has said, where somebody is there to answer.
func (c *initCmd) ask(a *app) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil
	}
	lines := readLines(os.Stdin)
	for _, q := range questions {
		if *q.value(c) != "" || !q.needed(*c) {
			continue
		}
		if err := c.askOne(a, q, lines); errors.Is(err, io.EOF) {
			printf(a.stderr, "\n")
			return nil // what is left is filled in later
		} else if err != nil {
			return err
		}
	}
	return nil
}

// askOne asks until the answer can be used. One that can be, and is hardly meant, is asked for again: whoever
// gives it twice means it.
func (c *initCmd) askOne(a *app, q question, lines <-chan string) error {
	hint := "leave it empty to fill it in later"
	if q.otherwise != "" {
		hint = q.otherwise
	}
	for doubted := ""; ; {
		printf(a.stderr, "%s [%s]: ", q.text, hint)
		answer, err := next(a.ctx, lines)
		if err != nil || answer == "" {
			return err
		}
		if q.key == "endpoint" {
			answer = withScheme(answer)
		}
		*q.value(c) = answer
		wrong, unwise := c.problemOf(q.key)
		switch {
		case wrong == "" && (unwise == "" || answer == doubted):
			return nil
		case wrong == "":
			doubted = answer
			printf(a.stderr, "%s If it is meant so, say it once more.\n", unwise)
		default:
			printf(a.stderr, "%s\n", wrong)
		}
		*q.value(c) = ""
	}
}

// readLines reads beside the questions: Ctrl-C has to be heard while nobody answers.
func readLines(r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- strings.TrimSpace(s.Text())
		}
	}()
	return lines
}

func next(ctx context.Context, lines <-chan string) (string, error) {
	select {
	case line, ok := <-lines:
		if !ok {
			return "", io.EOF
		}
		return line, nil
	case <-ctx.Done():
		return "", errors.New("interrupted: nothing is written")
	}
}
