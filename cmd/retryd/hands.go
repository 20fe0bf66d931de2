package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"retryd/internal/config"
	"retryd/internal/store"
	"retryd/internal/web"
)

// handFlags are those of a command that changes something for a person.
type handFlags struct {
	apiFlags
	Why    string `required:"" placeholder:"TEXT" help:"For whoever meets it, and for the record."`
	DryRun bool   `help:"Say what would happen, and do nothing."`
	Yes    bool   `short:"y" help:"Do not ask. Needed where a question has no terminal to go to."`
}

// Validate looks at what kong cannot.
func (f handFlags) Validate() error {
	if strings.TrimSpace(f.Why) == "" {
		return errors.New("--why is missing: whoever meets this has to learn the reason")
	}
	return nil
}

// projectFlag is of commands about a task.
type projectFlag struct {
	Project string `placeholder:"ID" help:"Of the task, where several projects have one of its id or name."`
}

// hand is what does it.
type hand struct {
	handFlags
	a   *app
	api *api
}

// begin finds the API. What it gives is closed when the command is done.
func (f handFlags) begin(a *app) (*hand, func(), error) {
	api, err := f.openAPI(a)
	if err != nil {
		return nil, nil, err
	}
	return &hand{f, a, api}, api.close, nil
}

// post asks for something once, however often the answer is lost on its way.
func (h *hand) post(path string, body, answer any) error {
	key := rand.Text()
	return h.twice(func() error { return h.api.Post(h.a.ctx, path, body, answer, key) })
}

// delete does the same with what is to end.
func (h *hand) delete(path string, query url.Values, answer any) error {
	key := rand.Text()
	query.Set("why", h.Why)
	if h.DryRun {
		query.Set("dry_run", "true")
	}
	return h.twice(func() error { return h.api.Delete(h.a.ctx, path, query, answer, key) })
}

// busyFor is how long a request is asked for again where the daemon has no turn for it: of its looks at
// the platform there are two at a time.
const busyFor = time.Minute

// patiently tries until there is a turn, for a while. Under its key a request happens once.
func (h *hand) patiently(try func() error) error {
	for began, said := time.Now(), false; ; {
		err := try()
		p := (*web.Problem)(nil)
		if !errors.As(err, &p) || !p.Busy() || time.Since(began) > busyFor {
			return err
		}
		if !said {
			said = true
			printf(h.a.stderr, "The platform is being asked for others: this waits for its turn, up to %s.\n", plural(int(busyFor/time.Second), "second"))
		}
		select {
		case <-h.a.ctx.Done():
			return errors.New("interrupted while others had the turn: nothing is done")
		case <-time.After(time.Second):
		}
	}
}

// twice tries again where the answer of a daemon was lost on its way: under its key a request happens
// once.
func (h *hand) twice(try func() error) error {
	once := try
	try = func() error { return h.patiently(once) }
	err := h.refused(try())
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) || h.a.ctx.Err() != nil {
		return err
	}
	select {
	case <-h.a.ctx.Done():
		return err
	case <-time.After(time.Second):
	}
	if again := h.refused(try()); again == nil || errors.As(again, new(*web.Problem)) {
		return again
	}
	return err
}

// refused gives the error of a request as a command ends with it.
func (h *hand) refused(err error) error {
	if p := (*web.Problem)(nil); errors.As(err, &p) && p.Status == http.StatusForbidden && h.byVariable() {
		return fmt.Errorf("%w ($RETRYD_URL is set: unset it to act on the ledger)", err)
	}
	return refused(err)
}

// sure asks whoever sits at a terminal whether to go on, and says what would happen where that is
// all that was asked. Where nobody can be asked, that is said too.
func (h *hand) sure(format string, args ...any) (bool, error) {
	if h.DryRun {
		printf(h.a.stdout, format+"\n(--dry-run: nothing is done)\n", args...)
		return false, nil
	}
	if h.Yes {
		return true, nil
	}
	printf(h.a.stderr, format+"\n", args...)
	if !term.IsTerminal(int(os.Stdin.Fd())) || !isTerminal(h.a.stderr) {
		return false, failure{exitUsage, errors.New("nobody is there to be asked: say --yes")}
	}
	printf(h.a.stderr, "Go on? [y/N] ")
	answer, err := next(h.a.ctx, readLines(os.Stdin))
	if err != nil { // nobody has answered
		printf(h.a.stderr, "\n")
	}
	if strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes") {
		return true, nil
	}
	return false, errors.New("nothing is done")
}

// ledgerByHand opens the ledger to look, and to write what a person says, beside a daemon that may run.
func (a *app) ledgerByHand(c *config.Config) (*house, error) {
	h := a.houseOf(c)
	err := h.open(a, h.ledger(store.Options{Join: true}))
	if errors.Is(err, store.ErrNoLedger) {
		return nil, fmt.Errorf("%w: start `retryd run` first", err)
	}
	return h, err
}
