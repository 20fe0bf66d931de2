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
	classCredentials iotda.Class = "credentials" // cannot be read
	classStopped     iotda.Class = "stopped"     // the caller's context ended
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
}

// Error says which connection and call, what came back, and what to do about it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "connection %q: %s: ", e.Connection, e.Op)
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
	if remedy := e.Remedy(); remedy != "" {
		b.WriteString("; " + remedy)
	}
	return b.String()
}

// Unwrap gives the cause on this side, such as context.Canceled.
func (e *Error) Unwrap() error { return e.err }

// Remedy says what a person can do about it, empty where waiting is all.
func (e *Error) Remedy() string {
	if ahead := e.ClockAhead.Abs(); e.Class == iotda.ClassAuth && ahead > 5*time.Minute {
		return fmt.Sprintf("this machine's clock is off by %s against the platform's: set it", ahead.Round(time.Second))
	}
	switch {
	case e.Code == "IOTDA.000002":
		return "the credentials were not accepted: for an instance's own host set auth.aksk.signing to derived, else check the keys and the grants"
	case e.Class == iotda.ClassAuth:
		return "the credentials were not accepted: check access_key and secret_key (or the token's age), region and auth.aksk.signing of this connection"
	case e.Class == classLocked:
		return "the credentials were refused twice within 5 minutes, and five times would lock the key: correct them and restart, or wait"
	case e.Class == classCredentials:
		return "mend the auth section of this connection"
	case e.Class == iotda.ClassPermission:
		return "grant iotda:batchtasks:queryList, iotda:batchtasks:query and iotda:batchtasks:retry to this user, and check endpoint, region and project_id"
	case e.Class == iotda.ClassNotFound && e.Op == opList:
		return "check endpoint and project_id of this connection"
	case e.Class == iotda.ClassBroken && e.Status/100 == 3:
		return "the endpoint redirects, which is not followed: set endpoint to the API's own host"
	}
	return ""
}

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
