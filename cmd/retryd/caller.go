package main

import (
	"net"
	"net/http"
	"slices"

	"retryd/internal/web"
)

// caller says who asks for something, and whether they may act: whoever may open the socket, and
// over HTTP the users whom server.admins names. That somebody is on this machine is not enough:
// on one that several people use, or behind a proxy, it says nothing.
func (d *door) caller(r *http.Request) web.Caller {
	if overSocket(r) {
		return web.Caller{Name: r.RemoteAddr, From: "socket"}
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	admins := d.asks.Load().Admins
	names := d.names(r)
	for _, name := range names {
		if slices.Contains(admins, name) {
			return web.Caller{Name: name, From: from}
		}
	}
	if len(names) == 0 {
		return web.Caller{From: from, Refused: "nobody may act here without saying who they are: name yourself in server.admins and in server.web_config (a password or a client certificate), or act on the daemon's machine, over server.socket or with its ledger"}
	}
	return web.Caller{Name: names[0], From: from, Refused: names[0] + " may look here, and not act: name yourself in server.admins, or act on the daemon's machine, over server.socket or with its ledger"}
}

// names gives who a caller has shown to be: a user, or a certificate's owner.
func (d *door) names(r *http.Request) (names []string) {
	if user := d.user(r); user != "" {
		names = append(names, user)
	}
	if !d.certified(r) {
		return names
	}
	shown := r.TLS.PeerCertificates[0]
	for _, name := range slices.Concat([]string{shown.Subject.CommonName}, shown.DNSNames, shown.EmailAddresses) {
		if name != "" {
			names = append(names, name)
		}
	}
	for _, uri := range shown.URIs {
		names = append(names, uri.String())
	}
	return names
}

// byHand is who acts with a command, on the ledger itself.
func byHand(*http.Request) web.Caller { return web.Caller{Name: who(), From: "terminal"} }
