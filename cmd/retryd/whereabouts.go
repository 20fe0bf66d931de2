package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"retryd/internal/config"
	"retryd/internal/store"
)

// whereabouts is a configuration as far as a command needs it that asks the daemon, or writes what a person says into
// the ledger: where these are. A mistake elsewhere in the files, or a secret that this shell may not read, keeps
// nobody from the brake. What sends retries reads all of it, with load.
type whereabouts struct {
	*config.Config
	broken error // why the rest is not known; nil = all of it is
}

// whereabouts finds and reads the configuration, and says once that something is wrong with it.
func (a *app) whereabouts() (*whereabouts, error) {
	files, err := config.Find(a.config)
	if err != nil {
		return nil, fmt.Errorf("%w; a daemon that runs can be named with --url", err)
	}
	c, broken := config.Whereabouts(files, env)
	if broken == nil {
		return &whereabouts{c, nil}, nil
	}
	if c == nil {
		return nil, fmt.Errorf("%w\n(a daemon that runs can be asked without the configuration: name it with --url, as a user whom it lets act)", inFiles(files, broken))
	}
	if !config.OnlyHere(broken) && !a.toldBroken {
		a.toldBroken = true
		printf(a.stderr, "%s cannot be used as it is: `%s` says why. This goes on without it (warning)\n", strings.Join(files, ", "), a.command("check"))
	}
	return &whereabouts{c, inFiles(files, broken)}, nil
}

// command gives how one is called with the configuration that this one has.
func (a *app) command(words string) string {
	text := "retryd "
	for _, file := range a.config {
		text += "-c " + quotedForShell(file) + " "
	}
	return text + words
}

// inFiles says which files the problems are in, and how many there are.
func inFiles(files []string, err error) error {
	if problems := (config.Problems)(nil); errors.As(err, &problems) {
		return fmt.Errorf("%s has %s:\n%w", strings.Join(files, ", "), plural(len(problems), "problem"), err)
	}
	return err
}

// ledger gives where the ledger is, empty if that is not known.
func (w *whereabouts) ledger() string {
	if w.Store.Path == "" && w.Store.URL == "" {
		return ""
	}
	return store.Options{Path: w.Store.Path, URL: w.Store.URL.Reveal()}.Where()
}

// needs gives an error where something depends on what is not known.
func (w *whereabouts) needs(what string) error {
	if w.broken == nil {
		return nil
	}
	return fmt.Errorf("%s needs the whole configuration where no daemon is asked: mend it, or name the daemon with --url: %w", what, w.broken)
}

// place is where a daemon listens.
type place struct {
	listen, socket string
	tls            bool
	noted          bool // by the daemon itself
}

// places gives where the daemon may listen, the surest first: what it has noted of itself, as the files may have been
// edited since it started; then what they say.
func (w *whereabouts) places() []place {
	said := place{listen: w.Server.Listen, socket: w.Server.Socket, tls: w.Server.Web.TLS}
	if note := noteOf(w.Config); note != "" {
		if noted, err := readNote(note); err == nil && noted != said {
			noted.noted = true
			return []place{noted, said}
		}
	}
	return []place{said}
}

// search gives the first way to the daemon that is the wanted one, nil if none is; denied says of a socket that is
// there why we may not open it.
func (d asker) search(a *app, c *whereabouts, wanted func(place, *way) (bool, error)) (w *way, denied, err error) {
	for _, p := range c.places() {
		w, why := toSocket(a.ctx, p.socket)
		if errors.Is(why, os.ErrPermission) {
			denied = errors.New(closedSocket(p.socket))
		}
		if w != nil {
			if is, err := wanted(p, w); is || err != nil {
				return w, denied, err
			}
		}
		if p.listen == "" {
			continue
		}
		if w, err = d.toListener(p, c.Server.Web); err != nil {
			return nil, denied, err
		}
		if is, err := wanted(p, w); is || err != nil {
			return w, denied, err
		}
	}
	return nil, denied, nil
}

// alive says who has given a sign of life in the ledger lately, empty if nobody has, or it cannot be read.
func (w *whereabouts) alive(a *app) string {
	own := &inHouse{a: a, where: w}
	defer own.close()
	s, err := statusOf(a.ctx, own)
	if err != nil || len(s.Replicas) == 0 {
		return ""
	}
	slices.Reverse(s.Replicas)
	return fmt.Sprintf("retryd on %s, started %s", shown(s.Replicas[0].Host), ago(s.Replicas[0].Started, s.Now))
}
