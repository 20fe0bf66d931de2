package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"retryd/internal/store"
)

// routeActions adds what changes something.
func (s *server) routeActions(mux *http.ServeMux) {
	for pattern, do := range map[string]doing{
		"POST /api/v1/pauses":           s.pause,
		"DELETE /api/v1/pauses":         s.resume,
		"DELETE /api/v1/pauses/{id}":    s.endPause,
		"DELETE /api/v1/halts/{id}":     s.endHalt,
		"POST /api/v1/approvals":        s.approve,
		"DELETE /api/v1/approvals/{id}": s.revoke,
		"POST /api/v1/forgiveness":      s.forgive,
		"POST /api/v1/retries":          s.retry,
		"POST /api/v1/sweeps":           s.sweep,
	} {
		mux.HandleFunc(pattern, s.act(do))
	}
}

// doing does what a request asks for, in the name of whom the action says, and gives the answer.
// again is true where that is the answer of the first time.
type doing func(r *asked) (answer any, again bool, err error)

// asked is a request to change something.
type asked struct {
	*http.Request
	body    []byte
	query   *params
	action  store.Action
	control *http.ResponseController // of the answer
}

// act lets those act who may, once for each idempotency key.
func (s *server) act(do doing) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller := s.Caller(r)
		if caller.Refused != "" {
			s.fail(w, r, refusal(http.StatusForbidden, "%s", caller.Refused))
			return
		}
		a, err := s.readAsked(r, caller)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		a.control = http.NewResponseController(w)
		answer, again, err := do(a)
		if err != nil {
			s.fail(w, r, acted(err))
			return
		}
		if again {
			w.Header().Set("Idempotency-Replayed", "true")
		}
		writeAnswer(w, answer)
	}
}

// acted gives the error of something that was not done as its caller should read it.
func acted(err error) error {
	switch {
	case errors.Is(err, store.ErrKeyReused):
		return refusal(http.StatusUnprocessableEntity, "the Idempotency-Key has been used for another request: a key stands for one request, sent once more because its answer was not heard")
	case errors.Is(err, store.ErrNoPause):
		return refusal(http.StatusNotFound, "%s", store.ErrNoPause)
	}
	return err
}

// readAsked reads the whole of a request.
func (s *server) readAsked(r *http.Request, by Caller) (*asked, error) {
	if kind := r.Header.Get("Content-Type"); r.Method == http.MethodPost && !strings.HasPrefix(kind, "application/json") {
		return nil, refusal(http.StatusUnsupportedMediaType, "the body has to be JSON, with Content-Type: application/json")
	}
	body, err := io.ReadAll(r.Body)
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return nil, refusal(http.StatusRequestEntityTooLarge, "a request can have %d bytes", large.Limit)
	}
	if err != nil {
		return nil, refusal(http.StatusBadRequest, "the request broke off: %s", err)
	}
	if r.Method == http.MethodDelete && len(body) > 0 {
		return nil, refusal(http.StatusBadRequest, "%s takes no body: what is meant is in the query", r.Method)
	}
	query, err := readParams(r.URL.RawQuery, s.now())
	if err != nil {
		return nil, err
	}
	key := r.Header.Get("Idempotency-Key")
	if len(key) > maxKey {
		return nil, refusal(http.StatusBadRequest, "an Idempotency-Key can have %d characters", maxKey)
	}
	sum := sha256.Sum256([]byte(r.Method + " " + r.URL.RequestURI() + "\n" + by.Name + "\n" + string(body)))
	action := store.Action{Who: by.Name, Source: by.From, Key: key, Fingerprint: hex.EncodeToString(sum[:])}
	return &asked{Request: r, body: body, query: query, action: action}, nil
}

// maxKey is how long an idempotency key can be.
const maxKey = 200

// into reads the body, in which every name has to be known. Beside it there is no query.
func (a *asked) into(body any) error {
	if err := a.query.check(); err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(a.body)))
	d.DisallowUnknownFields()
	if err := d.Decode(body); err != nil {
		return refusal(http.StatusBadRequest, "the body is not what %s takes: %s", a.URL.Path, strings.TrimPrefix(err.Error(), "json: "))
	}
	if !errors.Is(d.Decode(&struct{}{}), io.EOF) {
		return refusal(http.StatusBadRequest, "the body has more than one JSON value")
	}
	return nil
}

// because takes the reason, which is needed to do something.
func (a *asked) because(what, why string) error {
	if strings.TrimSpace(why) == "" {
		return refusal(http.StatusBadRequest, "why is missing: whoever meets this has to learn the reason")
	}
	return a.does(what, why)
}

// does takes what is done, and the reason if there is one.
func (a *asked) does(what, why string) error {
	a.action.What, a.action.Why = what, strings.TrimSpace(why)
	if len(a.action.Why) > maxWhy {
		return refusal(http.StatusBadRequest, "why can have %d bytes", maxWhy)
	}
	return nil
}

// one reads a request to end what has the id in the path.
func (a *asked) one(what string) (id int64, dry bool, err error) {
	why, dry := a.query.text("why"), a.query.yes("dry_run")
	if err := a.query.check(); err != nil {
		return 0, false, err
	}
	if err := a.because(what, why); err != nil {
		return 0, false, err
	}
	id, err = strconv.ParseInt(a.PathValue("id"), 10, 64)
	if err != nil {
		return 0, false, refusal(http.StatusNotFound, "%q is no number", a.PathValue("id"))
	}
	return id, dry, nil
}

// maxDevice is how many bytes the id of a device can have: more than the 128 characters that the
// platform takes [doc ShowBatchTask: target].
const maxDevice = 256

// few looks that a request does not name more devices than can be, or longer ones.
func few(devices []string) error {
	switch {
	case len(devices) > maxNamed:
		return refusal(http.StatusBadRequest, "at most %d devices can be named at once", maxNamed)
	case slices.ContainsFunc(devices, func(device string) bool { return len(device) > maxDevice }):
		return refusal(http.StatusBadRequest, "the id of a device can have %d bytes", maxDevice)
	}
	return nil
}

// maxWhy is how long a reason can be.
const maxWhy = 2000

// refusal is an error that the caller can do something about.
func refusal(status int, format string, args ...any) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}
