package iotdaclient

import (
	"context"
	"sync/atomic"

	"retryd/internal/iotda"
)

// Counting gives a context whose calls are counted, whichever client makes them, and what gives
// their number so far. Logins are not among them.
func Counting(ctx context.Context) (_ context.Context, calls func() int64) {
	n := &atomic.Int64{}
	return context.WithValue(ctx, callsKey{}, n), n.Load
}

type callsKey struct{}

func countCall(ctx context.Context) {
	if n, ok := ctx.Value(callsKey{}).(*atomic.Int64); ok {
		n.Add(1)
	}
}

// LoginResult is how a login at IAM ended.
type LoginResult string

// The results of logins.
const (
	LoginAccepted LoginResult = "accepted"
	LoginRefused  LoginResult = "refused" // the user or the password: a few of these lock the user
	LoginFailed   LoginResult = "failed"  // without an answer about those
)

// LoginResults lists them.
func LoginResults() []string {
	return []string{string(LoginAccepted), string(LoginRefused), string(LoginFailed)}
}

// loginKey is under what a call's context has whoever is told of the login that it leads to: several
// connections can share one Login.
type loginKey struct{}

// tellLogin tells of a login that was made. One that its caller has left has no result.
func tellLogin(ctx context.Context, e *Error) {
	tell, ok := ctx.Value(loginKey{}).(func(LoginResult))
	switch {
	case !ok || tell == nil:
	case e == nil:
		tell(LoginAccepted)
	case e.Class == iotda.ClassAuth:
		tell(LoginRefused)
	case e.Class != classStopped:
		tell(LoginFailed)
	}
}
