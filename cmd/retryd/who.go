package main

import (
	"os"
	"os/user"
	"strconv"
)

// who names the person at the terminal.
func who() string {
	if uid := os.Getuid(); uid >= 0 {
		return person(strconv.Itoa(uid))
	}
	if u, err := user.Current(); err == nil { // of a system without numbers for users
		return u.Username + "@" + hostname()
	}
	return "?@" + hostname()
}

// person names a user of this machine for the record: in one form, whether they act at a terminal or over
// the socket, and by the system's own list of users, and not by $USER.
func person(uid string) string {
	name := "uid " + uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	return name + "@" + hostname()
}

func hostname() string {
	host, err := os.Hostname()
	if err != nil {
		return "?"
	}
	return host
}
