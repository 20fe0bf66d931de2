//go:build !linux

package main

import (
	"os"
	"syscall"
	"time"
)

// What Linux has in /proc is not known elsewhere.

func watchPeak(int) func(*os.ProcessState) int64 { return func(*os.ProcessState) int64 { return 0 } }

func dying() *syscall.SysProcAttr { return nil }

func highest(int) int64 { return 0 }

func resident(int) int64 { return 0 }

func cpuOf(int) time.Duration { return 0 }
