package torture

import (
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The points of a transaction at which the cable can be pulled.
const (
	atBegin     = "as a write begins"
	inClaim     = "in a claim"
	atCommit    = "before a claim's commit"
	afterCommit = "between commit and reply"
	elsewhere   = "at any time"
)

var points = []string{atBegin, inClaim, atCommit, afterCommit}

// cable is what connects one replica to the database. While it is pulled nothing gets through in
// either direction, and nobody is told: what was sent arrives once it is plugged in again.
type cable struct {
	listener net.Listener
	to       string

	mu     sync.Mutex
	pulled chan struct{}   // closed when it is plugged in; nil = it is
	armed  string          // the point at which to pull it; empty = none
	struck chan struct{}   // told of that
	claims map[string]bool // names of the prepared statements that write a claim
}

// wire is one connection through it, and how far its transaction has come.
type wire struct{ began, claims, commits bool }

func newCable(t testing.TB, to string) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{listener: l, to: to, struck: make(chan struct{}, 1), claims: map[string]bool{}}
	t.Cleanup(func() { _ = l.Close(); c.plug() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go c.connect(near)
		}
	}()
	return c
}

func (c *cable) connect(near net.Conn) {
	far, err := net.Dial("tcp", c.to)
	if err != nil { // the database is down
		_ = near.Close()
		return
	}
	both, w := sync.WaitGroup{}, &wire{}
	both.Go(func() { c.carry(far, near, w.out) })
	both.Go(func() { c.carry(near, far, w.in) })
	both.Wait()
}

// carry carries what comes on to the other side; point says to which point of a transaction that is.
func (c *cable) carry(to, from net.Conn, point func(c *cable, data string) string) {
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			c.wait(point, string(buffer[:n]))
			if _, err := to.Write(buffer[:n]); err != nil {
				_, _ = io.Copy(io.Discard, from)
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait waits while it is pulled, which it may be from this point on.
func (c *cable) wait(point func(*cable, string) string, data string) {
	c.mu.Lock()
	if at := point(c, data); at != "" && at == c.armed {
		c.armed, c.pulled = "", make(chan struct{})
		c.struck <- struct{}{}
	}
	pulled := c.pulled
	c.mu.Unlock()
	if pulled != nil {
		<-pulled
	}
}

var prepares = regexp.MustCompile(`(stmtcache_[0-9a-f]+)\x00\s*INSERT INTO attempts`)

// out says which point of a transaction a message to the database is. A transaction on the leases
// names no project.
func (w *wire) out(c *cable, data string) string {
	if name := prepares.FindStringSubmatch(data); name != nil {
		c.claims[name[1]] = true
	}
	switch {
	case strings.HasPrefix(data, "Q") && strings.Contains(data, "begin"):
		*w = wire{began: true}
	case strings.HasPrefix(data, "Q") && strings.Contains(data, "commit") && w.claims:
		*w = wire{commits: true}
		return atCommit
	case w.began && strings.Contains(data, project):
		w.began = false
		return atBegin
	case c.claim(data) && !w.claims:
		w.claims = true
		return inClaim
	}
	return ""
}

// in says it of an answer.
func (w *wire) in(*cable, string) string {
	if !w.commits {
		return ""
	}
	w.commits = false
	return afterCommit
}

// claim tells whether a message writes the attempt of a claim.
func (c *cable) claim(data string) bool {
	for name := range c.claims {
		if strings.Contains(data, name) {
			return true
		}
	}
	return false
}

// arm pulls it at the next such point.
func (c *cable) arm(point string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = point
}

// pull pulls it now.
func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed = ""; c.pulled == nil {
		c.pulled = make(chan struct{})
	}
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = ""
	if c.pulled != nil {
		close(c.pulled)
		c.pulled = nil
	}
	select {
	case <-c.struck: // in the moment in which nobody waited for it any more
	default:
	}
}
