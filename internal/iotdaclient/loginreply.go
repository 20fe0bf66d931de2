package iotdaclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"retryd/internal/iotda"
)

const (
	// maxLoginReply is far above a reply without a catalogue.
	maxLoginReply = 1 << 20
	// A token is valid for 24 hours from its issue [doc iam_30_0001].
	tokenLife   = 24 * time.Hour
	tokenMargin = 10 * time.Minute // where the reply does not say when it ends
)

// request builds KeystoneCreateUserTokenByPassword, for one project. The body is that of the
// official SDK [sdk services/iam/v3/model: model_pwd_auth.go, model_pwd_identity.go,
// model_pwd_password_user.go, model_auth_scope_project.go], method and path too [same,
// iam_meta.go]. nocatalog keeps the service catalogue out of the reply.
func (l *Login) request(ctx context.Context) (*http.Request, error) {
	type object = map[string]any
	body, err := json.Marshal(object{"auth": object{
		"identity": object{
			"methods": []string{"password"},
			"password": object{"user": object{
				"domain": object{"name": l.o.Domain}, "name": l.o.User, "password": l.o.Password,
			}},
		},
		"scope": object{"project": object{"id": l.o.ProjectID}},
	}})
	if err != nil {
		return nil, fmt.Errorf("build the login: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.o.Endpoint+"/v3/auth/tokens?nocatalog=true", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("build the login: %w", err)
	}
	req.Header.Set("Content-Type", "application/json;charset=UTF-8")
	req.Header.Set("User-Agent", l.o.UserAgent)
	req.GetBody = nil // so that net/http does not send a password a second time by itself
	return req, nil
}

// refusal reads an error of IAM: Keystone's form, {"error":{"code":401,"message":"…"}}, or the
// gateway's [doc iam_02_0006]. What else came is not quoted: it may echo the request.
func (l *Login) refusal(r *reply) *Error {
	var words struct {
		Error   struct{ Message string } `json:"error"`
		Code    string                   `json:"error_code"`
		Message string                   `json:"error_msg"`
	}
	e := r.error()
	if json.Unmarshal(r.body, &words) == nil {
		text := words.Message
		if text == "" {
			text = words.Error.Message
		}
		e.Code, e.Message = shown(words.Code, 64, l.o.Password), shown(text, 300, l.o.Password)
	} else {
		e.Message = "with a body that is not IAM's"
	}
	e.Class = iotda.Classify(r.status, e.Code)
	refused := r.status == http.StatusUnauthorized || r.status == http.StatusForbidden
	if refused && e.Class != iotda.ClassThrottled {
		e.Class = iotda.ClassAuth
	}
	return e
}

// tokenEnd gives when a token ends, by this machine's clock: the reply's Date header tells how
// far that is off. Without a time that makes sense it is the documented one, with a margin.
func tokenEnd(r *reply, begun time.Time) time.Time {
	latest := begun.Add(tokenLife)
	var body struct {
		Token struct {
			Expires string `json:"expires_at"`
		} `json:"token"`
	}
	if json.Unmarshal(r.body, &body) == nil {
		if at, ok := iamTime(body.Token.Expires); ok {
			if at = at.Add(r.clockAhead - time.Second); at.After(begun) { // the header has whole seconds
				return earlier(at, latest)
			}
		}
	}
	return latest.Add(-tokenMargin)
}

// iamTime reads what IAM writes, such as 2020-01-04T09:05:22.701000Z [doc iam_30_0001], with
// or without a fraction or a zone.
func iamTime(text string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if at, err := time.Parse(form, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
