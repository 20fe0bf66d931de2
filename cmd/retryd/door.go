package main

import (
	"crypto/sha256"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/crypto/bcrypt"

	"retryd/internal/config"
)

// door is a second look at who comes in, behind that of the toolkit. The toolkit goes by what is
// in the web configuration at the moment: one that is being written, and is empty or half there,
// would let everybody in. It looks at the names in a certificate when a TLS session begins, and not
// when one is resumed. The door asks for what the configuration in force asks for, at each request;
// which passwords and names are right is as the file is now.
type door struct {
	asks atomic.Pointer[config.Web]

	mu    sync.Mutex
	right map[[sha256.Size]byte]bool // user, hash and password that go together
}

func newDoor(asks config.Web) *door {
	d := &door{right: map[[sha256.Size]byte]bool{}}
	d.asks.Store(&asks)
	return d
}

func (d *door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if overSocket(r) { // its mode has let them in
			next.ServeHTTP(w, r)
			return
		}
		asks := d.asks.Load()
		if len(asks.Users) > 0 && d.user(r) == "" || asks.ClientCerts && !d.certified(r) {
			w.Header().Set("WWW-Authenticate", "Basic")
			refuse(w, r, http.StatusUnauthorized, "the web configuration that is in force asks who you are; if the file has changed since, SIGHUP reloads it")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knows tells whether a caller has shown who they are.
func (d *door) knows(r *http.Request) bool { return d.certified(r) || d.user(r) != "" }

// certified tells whether a caller has shown a certificate that an authority of ours has signed,
// for a name that may come in.
func (d *door) certified(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return false
	}
	asks := d.asks.Load()
	if len(asks.SANs) == 0 {
		return true
	}
	now, err := asks.Visitors()
	allowed := web.TLSConfig{ClientAllowedSans: now.SANs}
	return err == nil && allowed.VerifyPeerCertificate([][]byte{r.TLS.PeerCertificates[0].Raw}, nil) == nil
}

// user gives whose password a caller has; empty where it is nobody's.
func (d *door) user(r *http.Request) string {
	name, password, ok := r.BasicAuth()
	asks := d.asks.Load()
	if !ok || asks.Path == "" {
		return ""
	}
	now, err := asks.Visitors()
	hash, known := now.Users[name]
	if err != nil || !known || name == "" {
		return ""
	}
	key := sha256.Sum256([]byte(name + "\x00" + hash.Reveal() + "\x00" + password))
	d.mu.Lock()
	right := d.right[key]
	d.mu.Unlock()
	if right {
		return name
	}
	if bcrypt.CompareHashAndPassword([]byte(hash.Reveal()), []byte(password)) != nil { // slow, on purpose
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.right) >= 100 {
		clear(d.right)
	}
	d.right[key] = true
	return name
}

// local tells whether a caller is a program on this machine, and not somebody whom a proxy speaks
// for or a page in a browser. It is as good as the operator's own hands where nobody is asked who
// they are.
func local(r *http.Request) bool {
	if slices.ContainsFunc([]string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via", "Origin", "Sec-Fetch-Site"}, func(name string) bool { return r.Header.Get(name) != "" }) {
		return false
	}
	return onLoopback(r)
}

// onLoopback tells whether a request comes from this machine, to a name of this machine.
func onLoopback(r *http.Request) bool {
	host := r.Host // a page whose own name leads here has that name
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	from, _, _ := net.SplitHostPort(r.RemoteAddr) // net/http has put it there
	return loopback(from) && (host == "localhost" || loopback(host))
}

func loopback(address string) bool {
	ip := net.ParseIP(address)
	return ip != nil && ip.IsLoopback()
}
