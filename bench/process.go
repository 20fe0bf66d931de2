package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// usage is what a process came to.
type usage struct {
	Wall time.Duration
	CPU  time.Duration // user and system, of all cores
	Peak int64         // bytes of memory that were resident at most; 0 = not known here
	Out  string        // what it printed
}

// measure runs a process to its end.
func measure(ctx context.Context, name string, args ...string) (usage, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &out, &out, dying()
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	peak := watchPeak(cmd.Process.Pid)
	err := cmd.Wait()
	u := usage{Wall: time.Since(begun), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), Out: out.String()}
	u.Peak = peak(cmd.ProcessState)
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, u.Out)
	}
	return u, err
}

// child is a platform in a process of its own.
type child struct {
	cmd     *exec.Cmd
	address string
}

// startPlatform starts this program again, as a platform.
func startPlatform(ctx context.Context, f fleet, more ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, append(append([]string{"platform"}, f.args()...), more...)...)}
	c.cmd.Stderr, c.cmd.SysProcAttr = os.Stderr, dying()
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("the platform did not start: %w", err)
	}
	c.address = strings.TrimSpace(line)
	return c, nil
}

// record asks for what has been recorded so far.
func (c *child) record(ctx context.Context) (r record, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.address+"/bench/record", http.NoBody)
	if err != nil {
		return r, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

// stop ends it, and gives how much of a core it took.
func (c *child) stop() time.Duration {
	_ = c.cmd.Process.Kill()
	if err := c.cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}
