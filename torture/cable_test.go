package torture

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// cable is what connects one replica to the database. While it is pulled nothing gets through in
// either direction, and nobody is told: what was sent arrives once it is plugged in again.
type cable struct {
	listener net.Listener
	to       string

	mu     sync.Mutex
	pulled chan struct{} // closed when it is plugged in; nil = it is
	armed  bool          // pull it when the next transaction begins
	struck chan struct{} // told of that
}

func newCable(t testing.TB, to string) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{listener: l, to: to, struck: make(chan struct{}, 1)}
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
	both := sync.WaitGroup{}
	both.Go(func() { c.carry(far, near, true) })
	both.Go(func() { c.carry(near, far, false) })
	both.Wait()
}

func (c *cable) carry(to, from net.Conn, out bool) {
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			c.wait(out && bytes.Contains(buffer[:n], []byte("begin")))
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

// wait waits while it is pulled.
func (c *cable) wait(begins bool) {
	c.mu.Lock()
	if begins && c.armed {
		c.armed, c.pulled = false, make(chan struct{})
		c.struck <- struct{}{}
	}
	pulled := c.pulled
	c.mu.Unlock()
	if pulled != nil {
		<-pulled
	}
}

// arm pulls it just before the next transaction begins.
func (c *cable) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = true
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = false
	if c.pulled != nil {
		close(c.pulled)
		c.pulled = nil
	}
}
