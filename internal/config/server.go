package config

import (
	"io/fs"
	"net"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

func (d *decoder) server(r rawServer) Server {
	s := Server{Listen: r.Listen, Web: d.web(r), ExternalURL: d.externalURL(r)}
	s.Web.Admins = d.admins(r, s.Web)
	s.Socket, s.SocketMode = d.socket(r)
	host, port, err := net.SplitHostPort(r.Listen)
	switch {
	case err != nil || port == "":
		d.problem(r.of("listen"), "listen must be host:port, such as 127.0.0.1:9464, not %q", clip(r.Listen))
	case loopback(host):
	case !s.Web.Authenticates():
		d.warn(r.of("listen"), "whoever reaches %s can see what retryd does, and have it reload: web_config can ask for a password or a client certificate", clip(r.Listen))
	case !s.Web.TLS:
		d.warn(r.of("listen"), "passwords cross the network to %s for all to read: tls_server_config in web_config encrypts them", clip(r.Listen))
	}
	return s
}

// maxSocket leaves room for the name that the socket has until it is ready: systems take some 100
// bytes.
const maxSocket = 85

var socketModes = regexp.MustCompile(`^0?[67][0-7]{2}$`)

func (d *decoder) socket(r rawServer) (path string, mode fs.FileMode) {
	bits, err := strconv.ParseUint(r.SocketMode, 8, 32)
	mode = fs.FileMode(bits)
	switch {
	case d.told[r.of("socket_mode")]:
	case err != nil || !socketModes.MatchString(r.SocketMode):
		d.problem(r.of("socket_mode"), "socket_mode must be octal, such as 0600 for the daemon's own user or 0660 for its group as well, not %q", clip(r.SocketMode))
	case r.Socket == "":
		if r.has("socket_mode") {
			d.warn(r.of("socket_mode"), "socket_mode is of no use without socket")
		}
	case mode&0o006 != 0:
		d.warn(r.of("socket_mode"), "everybody on this machine may act over the socket: 0660 is for the daemon's user and group")
	}
	if r.Socket == "" {
		return "", mode
	}
	if path = d.path(r.of("socket"), r.Socket); len(path) > maxSocket {
		d.problem(r.of("socket"), "socket is too long: its path has %d bytes, and a socket's can have %d", len(path), maxSocket)
	}
	return path, mode
}

// admins looks at whether those who may act over HTTP can show who they are.
func (d *decoder) admins(r rawServer, w Web) []string {
	place := func(i int) *yaml.Node { return r.item("admins", i) }
	for i, name := range r.Admins {
		switch {
		case name == "":
			d.problem(place(i), "an admin without a name is none")
		case w.Path == "" && !r.has("web_config"):
			d.problem(place(i), "nobody can show to be %q: web_config has to ask for passwords (basic_auth_users) or client certificates", clip(name))
		case w.fixed == "": // the web configuration has problems of its own
		case slices.Contains(w.Users, name) || slices.Contains(w.SANs, name) || w.verifies && len(w.SANs) == 0:
		default:
			d.warn(place(i), "web_config knows no %q: a user of basic_auth_users, or a name in a client certificate", clip(name))
		}
	}
	return r.Admins
}
