package emulator

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"
)

// User may log in at the emulated IAM.
type User struct{ Domain, Name, Password string }

// Login is one request for a token as the emulator saw it.
type Login struct {
	At           time.Time
	Domain, User string
	Accepted     bool
	Status       int
}

// The strictest login policy that an account can set [doc iam_17_0005]: so many failures in
// such a time lock a user, for so long at least.
const (
	lockUserAfter  = 3
	lockUserWithin = time.Hour
	lockUserFor    = 15 * time.Minute
)

type userState struct {
	failures []time.Time
	locked   time.Time
}

// IAM is the part of the emulator that gives tokens, for an address of its own. The
// emulator itself answers the same request too.
func (e *Emulator) IAM() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/auth/tokens", e.serveLogin)
	mux.HandleFunc("/", notFound)
	return mux
}

// Logins gives every request for a token so far, in order.
func (e *Emulator) Logins() []Login {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.logins)
}

// IssueToken makes a token known that somebody has got elsewhere, and when it ends, or ended.
func (e *Emulator) IssueToken(token string, ends time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.issued[token] = ends
}

// RevokeTokens ends every token that was given, as a changed password or grant does.
func (e *Emulator) RevokeTokens() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.issued)
}

// tokenRequest is KeystoneCreateUserTokenByPassword's body [sdk services/iam/v3/model
// model_pwd_auth.go and what it refers to, model_auth_scope.go].
type tokenRequest struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User struct {
					Domain   struct{ Name string } `json:"domain"`
					Name     string                `json:"name"`
					Password string                `json:"password"`
				} `json:"user"`
			} `json:"password"`
		} `json:"identity"`
		Scope struct {
			Project struct {
				ID string `json:"id"`
			} `json:"project"`
		} `json:"scope"`
	} `json:"auth"`
}

// serveLogin is KeystoneCreateUserTokenByPassword, for project-scoped tokens.
func (e *Emulator) serveLogin(w http.ResponseWriter, r *http.Request) {
	if !wait(r, e.o.Latency) {
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the caller has gone
	}
	var q tokenRequest
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	bad := decoder.Decode(&q) != nil || kind != "application/json"
	now := time.Now()
	e.mu.Lock()
	status := e.login(q, bad, now)
	e.logins = append(e.logins, Login{
		At: now, Domain: q.Auth.Identity.Password.User.Domain.Name, User: q.Auth.Identity.Password.User.Name,
		Accepted: status == http.StatusCreated, Status: status,
	})
	token, ends := "", now.Add(e.o.TokenLife)
	if status == http.StatusCreated {
		token = newToken()
		e.issued[token] = ends
	}
	e.mu.Unlock()
	if token == "" {
		writeIAMError(w, status)
		return
	}
	writeToken(w, token, now, ends, q)
}

// login gives the status of the reply.
func (e *Emulator) login(q tokenRequest, bad bool, now time.Time) int {
	identity, project := q.Auth.Identity, q.Auth.Scope.Project.ID
	user := identity.Password.User
	if bad || !slices.Equal(identity.Methods, []string{"password"}) || user.Name == "" || user.Domain.Name == "" || project == "" {
		return http.StatusBadRequest
	}
	who := user.Domain.Name + "\x00" + user.Name
	if e.users[who] == nil {
		e.users[who] = &userState{}
	}
	state := e.users[who]
	if now.Before(state.locked) {
		return http.StatusUnauthorized
	}
	if !slices.Contains(e.o.Users, User{user.Domain.Name, user.Name, user.Password}) {
		state.failures = slices.DeleteFunc(state.failures, func(at time.Time) bool { return now.Sub(at) > lockUserWithin })
		if state.failures = append(state.failures, now); len(state.failures) >= lockUserAfter {
			state.failures, state.locked = nil, now.Add(lockUserFor)
		}
		return http.StatusUnauthorized
	}
	state.failures = nil
	if project != e.o.ProjectID {
		return http.StatusForbidden
	}
	return http.StatusCreated
}

// checkToken verifies X-Auth-Token: a fixed one, or one that IAM gave.
func (e *Emulator) checkToken(token string, now time.Time) *apiError {
	ends, given := e.issued[token]
	switch {
	case slices.Contains(e.o.Tokens, token):
		return nil
	case !given:
		return unauthorized("decrypt token fail")
	case !now.Before(ends): // the words are documented [doc ocr_01_0063]
		return unauthorized("token expires, expires_at: " + ends.UTC().Format(iamTime))
	}
	return nil
}

// iamTime is how IAM writes times [doc iam_30_0001].
const iamTime = "2006-01-02T15:04:05.000000Z"

func writeToken(w http.ResponseWriter, token string, now, ends time.Time, q tokenRequest) {
	user := q.Auth.Identity.Password.User
	domain := map[string]string{"id": "d78cbac186b744899480f25bd022f468", "name": user.Domain.Name}
	data, err := json.Marshal(map[string]any{"token": map[string]any{
		"methods": q.Auth.Identity.Methods, "catalog": []any{}, "roles": []any{map[string]string{"id": "0", "name": "iotda_admin"}},
		"issued_at": now.UTC().Format(iamTime), "expires_at": ends.UTC().Format(iamTime),
		"project": map[string]any{"id": q.Auth.Scope.Project.ID, "name": "cn-north-4", "domain": domain},
		"user":    map[string]any{"id": "7116d09f88fa41908676fdd4b039e95b", "name": user.Name, "domain": domain, "password_expires_at": ""},
	}})
	if err != nil {
		panic(err) // our own types
	}
	w.Header().Set("X-Subject-Token", token)
	write(w, http.StatusCreated, "application/json", string(data))
}

// writeIAMError writes Keystone's form of an error, which differs from IoTDA's [doc IAM API].
func writeIAMError(w http.ResponseWriter, status int) {
	message := map[int]string{
		http.StatusBadRequest: "Request parameter is invalid.", http.StatusUnauthorized: "The username or password is wrong.",
		http.StatusForbidden: "You have no right to do this action.",
	}[status]
	data, err := json.Marshal(map[string]any{"error": map[string]any{"code": status, "message": message, "title": http.StatusText(status)}})
	if err != nil {
		panic(err)
	}
	write(w, status, "application/json", string(data))
}

// newToken is about as long as the platform's are.
func newToken() string {
	raw := make([]byte, 1500)
	_, _ = rand.Read(raw) // never fails
	return "MII" + base64.RawURLEncoding.EncodeToString(raw)
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	writeError(w, &apiError{http.StatusNotFound, "APIGW.0101", "The API does not exist or has not been published in the environment"})
}
