package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"retryd/internal/config"
	"retryd/internal/iotdaclient"
	"retryd/internal/store"
)

// connector tries connections, each with as few reads as it takes to say what is wrong. It goes by the
// ledger's record of refused credentials and adds to it, as everything that calls the platform does.
type connector struct {
	mu      sync.Mutex
	refused map[string]string // credentials, and the connection that they were refused for
	n, down int               // connections tried, and those that do not work
}

func newConnector() *connector { return &connector{refused: map[string]string{}} }

// connectAtOnce is how many connections are tried at the same time; of those that share credentials one.
const connectAtOnce = 8

// connect tries all connections of a configuration, and gives what came of them in their order: each is told
// as soon as those before it are.
func (k *connector) connect(a *app, c *config.Config, tell func(*trial)) ([]*trial, error) {
	h := build(c, config.Log{Level: "error", Format: "console"}, a.stderr)
	defer h.close()
	err := h.openBeside(a, "no policy has been seen before")
	if errors.Is(err, store.ErrNoFolder) { // as where the service that makes it has not been started yet
		printf(a.stderr, "%s\n(this goes on without it)\n", err)
		err = h.open(a, store.Options{})
		h.rememberRefusals(a)
	}
	if err != nil {
		return nil, err
	}
	trials, err := h.trials(c)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.tryAll(a.ctx, trials)
	}()
	for _, t := range trials {
		<-t.done
		if a.ctx.Err() != nil {
			break
		}
		tell(t)
		k.n++
		if !t.Works {
			k.down++
		}
	}
	<-ended
	if a.ctx.Err() != nil {
		return nil, errors.New("interrupted: not every connection was tried to its end")
	}
	return trials, nil
}

// trials makes one of each connection. A person waits: each call is tried once.
func (h *house) trials(c *config.Config) ([]*trial, error) {
	hasty := *c
	hasty.Connections = slices.Clone(c.Connections)
	for i := range hasty.Connections {
		hasty.Connections[i].Backoff.MaxElapsed = time.Nanosecond
	}
	all := map[string]*trial{}
	h.heard = func(name string, x iotdaclient.Exchange) { all[name].hear(x) }
	setup, _, err := h.setup(&hasty)
	if err != nil {
		return nil, err
	}
	trials := make([]*trial, len(c.Connections))
	for i, connection := range c.Connections {
		trials[i] = newTrial(h, connection, setup.Connections[i].Client)
		all[connection.Name] = trials[i]
	}
	return trials, nil
}

// tryAll tries connections, those that share credentials one after the other.
func (k *connector) tryAll(ctx context.Context, trials []*trial) {
	shares := map[string][]*trial{}
	for _, t := range trials {
		credentials := credentialsOf(t.c.Auth)
		shares[credentials] = append(shares[credentials], t)
	}
	g := errgroup.Group{}
	g.SetLimit(connectAtOnce)
	for credentials, sharing := range shares {
		g.Go(func() error {
			k.inTurn(ctx, credentials, sharing)
			return nil
		})
	}
	_ = g.Wait() // none gives an error
}

// inTurn tries connections that share credentials, until these are refused: a wrong key is not shown to
// every instance in turn, which would lock it.
func (k *connector) inTurn(ctx context.Context, credentials string, sharing []*trial) {
	for _, t := range sharing {
		k.mu.Lock()
		first := k.refused[credentials]
		k.mu.Unlock()
		if first != "" {
			t.skip(fmt.Sprintf("not tried: its credentials were refused for connection %q", first))
			continue
		}
		if t.run(ctx); t.refused() {
			k.mu.Lock()
			k.refused[credentials] = t.Connection
			k.mu.Unlock()
		}
	}
}

// verdict gives the command's exit code.
func (k *connector) verdict() error {
	switch {
	case k.down == 0:
		return nil
	case k.n == 1:
		return errors.New("the connection does not work")
	case k.down == k.n:
		return fmt.Errorf("none of %s works", plural(k.n, "connection"))
	}
	return failure{exitPartial, fmt.Errorf("%d of %s do not work", k.down, plural(k.n, "connection"))}
}

// credentialsOf names who calls: what a platform would lock is one, however its calls are signed.
func credentialsOf(a config.Auth) string {
	switch {
	case a.AccessKey != "":
		return "key " + a.AccessKey.Reveal()
	case a.Token != "":
		return "token " + a.Token.Reveal()
	case a.TokenFile != "":
		return "token file " + a.TokenFile
	case a.IAM.User != "":
		return strings.Join([]string{"user", a.IAM.Endpoint, a.IAM.Domain, a.IAM.User}, "\x00")
	}
	return "provider " + a.Provider
}
