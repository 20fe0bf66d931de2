package iotdaclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"retryd/internal/iotda"
)

// Classes of errors that arise on this side, before the platform is asked.
const (
	classLocked      iotda.Class = "locked"      // credentials refused twice: held back so that the key is not locked
	classCredentials iotda.Class = "credentials" // there are none, or they cannot be read
	classStopped     iotda.Class = "stopped"     // the caller's context ended
	classHeld        iotda.Class = "held"        // by the caller's gate
)

// Error is a call that did not succeed.
type Error struct {
	Connection string
	Op         string
	Class      iotda.Class
	Status     int    // HTTP status; 0 = no reply
	Code       string // error_code of the body
	Message    string
	RequestID  string
	RetryAfter time.Duration // what the platform asked for, capped; 0 = nothing
	ClockAhead time.Duration // of this machine against the reply's Date header
	reached    bool          // a connection was had: the request may have left
	whole      bool          // the reply was read to its end
	err        error

	source sourceName // of the credentials
	signed Signing    // how the call was: basic or derived; empty = not with a key
	login  bool       // of the call that gets them, and not of one to IoTDA
	until  time.Time  // no call before; zero = not known
}

// Error says which connection and call, what came back, and what to do about it.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Connection != "" {
		fmt.Fprintf(&b, "connection %q: ", e.Connection)
	}
	b.WriteString(e.What())
	if remedy := e.Remedy(); remedy != "" {
		b.WriteString("; " + remedy)
	}
	return b.String()
}

// What says which call it was and what came back, and no more.
func (e *Error) What() string {
	var b strings.Builder
	b.WriteString(e.Op + ": ")
	parts := []string{}
	if e.Status != 0 {
		parts = append(parts, fmt.Sprintf("HTTP %d", e.Status))
	}
	for _, s := range []string{e.Code, e.Message} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.err != nil {
		parts = append(parts, plain(e.err))
	}
	b.WriteString(strings.Join(parts, " "))
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request id %s)", e.RequestID)
	}
	if e.login && e.Class == iotda.ClassAuth { // it is repeated for each call until then
		fmt.Fprintf(&b, " (no other login before %s)", e.until.UTC().Format(time.RFC3339))
	}
	return b.String()
}

// Unwrap gives the cause on this side, such as context.Canceled.
func (e *Error) Unwrap() error { return e.err }

// NoEffect tells whether it is proven that a retry call changed nothing: no connection
// was had, or the platform or its gateway refused the call as a whole, in its own words
// and to the last byte. 429 needs no words.
func (e *Error) NoEffect() bool {
	if !e.reached {
		return true
	}
	refused := []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusRequestEntityTooLarge, http.StatusTooManyRequests,
	}
	return e.whole && slices.Contains(refused, e.Status) &&
		(iotda.IsAPICode(e.Code) || e.Status == http.StatusTooManyRequests)
}

// Transient tells whether the same call may succeed a little later.
func (e *Error) Transient() bool {
	return e.Class == iotda.ClassTransient || e.Class == iotda.ClassThrottled || e.Class == iotda.ClassBroken && e.Status/100 == 2
}

// Until gives the moment before which no such call is made, the zero time where none is known.
func (e *Error) Until() time.Time { return e.until }

// Held tells whether the caller's gate held the call back; Unwrap gives why.
func (e *Error) Held() bool { return e.Class == classHeld }

// Gone tells whether the platform says, in its own words, that what was asked for does not
// exist.
func (e *Error) Gone() bool {
	return e.whole && e.Status == http.StatusNotFound && strings.HasPrefix(e.Code, "IOTDA.")
}

// RefusedBatch tells whether the platform understood a retry call and refused it for what it
// names, which may be one target.
func (e *Error) RefusedBatch() bool {
	return e.whole && e.NoEffect() && e.Status == http.StatusBadRequest && e.Class == iotda.ClassRefused
}

// Short gives a word or two for a metric's label: a closed set.
func (e *Error) Short() string { return string(e.Class) }

// plain drops what net/http puts around a cause: method and address, which the message
// has in other words already.
func plain(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "stopped"
	}
	return err.Error()
}
