package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"

	"retryd/internal/store"
)

type runCmd struct {
	AutoReload      bool          `help:"Reload whenever what the configuration's files hold has changed."`
	AutoReloadEvery time.Duration `default:"10s" placeholder:"10s" help:"How often --auto-reload looks."`
	Observe         bool          `help:"Send nothing, whatever the policies say: each is in mode observe, after reloads too."`
	DropPauses      bool          `help:"Drop pauses and halts of policies that the configuration does not have any more, instead of refusing to start."`
}

// Run runs the daemon.
func (r runCmd) Run(a *app) error {
	hup := make(chan os.Signal, 1) // before the slow part: a signal that comes now would end the program
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	a.observe = r.Observe
	c, err := a.load()
	if err != nil {
		return badConfiguration(err)
	}
	h := build(c, c.Log, a.stderr)
	h.observe = r.Observe
	defer h.log.Sync() //nolint:errcheck // stderr cannot always be synced
	h.warn(c)
	listener, err := listen(a.ctx, c.Server.Listen)
	if err != nil {
		return unlistened("server.listen", c.Server.Listen, err)
	}
	defer listener.Close()
	if err := h.open(a, h.ledger(store.Options{Create: true})); err != nil {
		return err
	}
	defer h.close()
	var local *socket // it takes the place of a dead daemon's: who has the ledger is none
	if c.Server.Socket != "" {
		if local, err = listenSocket(a.ctx, c.Server.Socket, c.Server.SocketMode); err != nil {
			return err
		}
		defer local.Close()
	}
	defer h.leaveNote(listener.Addr(), c)()
	lost, err := h.lostHolds(a.ctx, c, r.DropPauses)
	if err != nil {
		return err
	}
	if err := h.dropHolds(a.ctx, lost, "run"); err != nil {
		return err
	}
	s, err := h.scheduler(nil)
	if err != nil {
		return err
	}
	defer s.Close()
	systemd := newSupervisor(h.log, s, h.store.Writable)
	defer systemd.stops()
	defer context.AfterFunc(a.ctx, systemd.stops)()
	tells, err := h.sender(a.ctx, c)
	if err != nil {
		return err
	}
	h.metrics.Reloaded(true, c.Hash, time.Now())
	h.log.Info("retryd starts", zap.String("version", readVersion().Version), zap.Strings("config", c.Files), zap.String("config_hash", c.Hash),
		zap.String("replica", h.replica.ID), zap.String("ledger", h.store.Where()), zap.String("listen", listener.Addr().String()),
		zap.String("socket", c.Server.Socket), zap.Int("connections", len(c.Connections)), zap.Int("policies", len(c.Policies)))
	if r.Observe {
		h.log.Warn("every policy is in mode observe (--observe): nothing is sent")
	}
	if backup := h.store.Backup(); backup != "" {
		h.log.Info("the ledger has a new schema; a copy of it as it was is kept", zap.String("copy", backup))
	}
	reloads := &reloader{a: a, h: h, s: s, tells: tells, systemd: systemd, current: c, door: newDoor(c.Server.Web)}
	act := func(ctx context.Context) error { return h.logActions(ctx, s.Wake) }
	follow := func(ctx context.Context) error {
		reloads.follow(ctx, hup, r.every())
		return nil
	}
	reloads.inForce.Store(c)
	handler := h.handler(s, reloads)
	entrances := []entrance{h.front(listener, handler, c.Server.Web.Path)}
	if local != nil {
		entrances = append(entrances, h.side(local, handler))
	}
	err = serveUntil(a.ctx, entrances, s.Run, tells.Run, act, follow, systemd.follow)
	h.log.Info("retryd stops")
	return err
}

// unlistened says why an address, which a key or a flag gives, cannot be listened on.
func unlistened(by, address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: %w: another program, or another retryd, listens at %s: end that, or give %s another port", by, err, address, by)
	}
	return fmt.Errorf("%s: %w: give it an address of this machine, and a port that retryd may take", by, err)
}

// every gives how often to look for changes, 0 for never.
func (r runCmd) every() time.Duration {
	if !r.AutoReload {
		return 0
	}
	return max(r.AutoReloadEvery, 100*time.Millisecond)
}
