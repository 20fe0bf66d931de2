//go:build !linux

package main

import "net"

// uidOf gives the user behind a connection, where the system tells it.
func uidOf(*net.UnixConn) (uid uint32, known bool) { return 0, false }
