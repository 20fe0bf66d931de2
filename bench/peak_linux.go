package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// watchPeak follows the peak of a process' resident memory. The kernel's own figure at its end is
// exact, but begins with the peak of this process, which the other began as a copy of; where that
// may be all that it says, what was seen last, at most 5 ms before the end, counts.
func watchPeak(pid int) func(*os.ProcessState) int64 {
	done, seen := make(chan struct{}), make(chan int64, 1)
	own := highest(os.Getpid())
	go func() {
		var last int64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			last = max(last, highest(pid))
			select {
			case <-tick.C:
			case <-done:
				seen <- last
				return
			}
		}
	}()
	return func(state *os.ProcessState) int64 {
		close(done)
		last := <-seen
		if r, ok := state.SysUsage().(*syscall.Rusage); ok && r.Maxrss<<10 > max(own, highest(os.Getpid())) {
			return r.Maxrss << 10
		}
		return last
	}
}

// dying ends a process with this one.
func dying() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// highest gives VmHWM of a process; 0 where there is none.
func highest(pid int) int64 { return statusOf(pid, "VmHWM:") }

// resident gives VmRSS of a process.
func resident(pid int) int64 { return statusOf(pid, "VmRSS:") }

func statusOf(pid int, key string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// cpuOf gives the time that a running process has had of all cores.
func cpuOf(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond // the kernel's clock ticks 100 times a second
}
