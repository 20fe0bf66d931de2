package store

import (
	"fmt"
	"os/user"
	"runtime"
	"strconv"
)

// UserName names a user of this system: one without a name, by its number.
func UserName(uid int) string {
	if name := loginOf(uid); name != "" {
		return name
	}
	return strconv.Itoa(uid)
}

// AsUser gives what a command is to begin with, so that it runs as another user. sudo -u takes neither the number of a
// user without a name nor '#' and that number, unless runas_allow_unknown_id is set [sudoers(5)]; setpriv is Linux's.
func AsUser(uid, gid int) string {
	if name := loginOf(uid); name != "" {
		return "sudo -u " + name
	}
	if runtime.GOOS != "linux" {
		return fmt.Sprintf("sudo -u '#%d'", uid)
	}
	return fmt.Sprintf("sudo setpriv --reuid=%d --regid=%d --clear-groups", uid, gid)
}

// toChown gives a user and the user's group as chown takes them: it finds the group by a name alone [chown(1)].
func toChown(uid, gid int) string {
	if name := loginOf(uid); name != "" {
		return name + ":"
	}
	return fmt.Sprintf("%d:%d", uid, gid)
}

// loginOf is empty where the system knows no name for a user, as in a container, or after userdel.
func loginOf(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return ""
	}
	return u.Username
}
