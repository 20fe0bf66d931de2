package emulator

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// The lock of an access key: five failures in a row, for five minutes.
const (
	lockAfter = 5
	lockFor   = 5 * time.Minute
	clockSkew = 15 * time.Minute
)

type keyState struct {
	failures int
	locked   time.Time
}

func unauthorized(why string) *apiError {
	return &apiError{http.StatusUnauthorized, "APIGW.0301", "Incorrect IAM authentication information: " + why}
}

// authenticate verifies who calls.
func (e *Emulator) authenticate(r *http.Request, body []byte, now time.Time) *apiError {
	if e.o.InstanceID != "" && r.Header.Get("Instance-Id") != e.o.InstanceID {
		return &apiError{http.StatusForbidden, "IOTDA.000021", "The instance does not exist"}
	}
	if token := r.Header.Get("X-Auth-Token"); token != "" {
		return e.checkToken(token, now)
	}
	sig, ok := readSignature(r.Header.Get("Authorization"))
	if !ok {
		return unauthorized("no signature")
	}
	secret, known := e.o.Keys[sig.key]
	if !known {
		return unauthorized("ak not exist")
	}
	state := e.keys[sig.key]
	if state == nil {
		state = &keyState{}
		e.keys[sig.key] = state
	}
	if now.Before(state.locked) {
		return unauthorized("AK access failed to reach the limit")
	}
	if why := e.verify(sig, secret, r, body, now); why != nil {
		if state.failures++; state.failures >= lockAfter {
			state.failures, state.locked = 0, now.Add(lockFor)
		}
		return why
	}
	state.failures = 0
	return nil
}

// signature is the Authorization header, taken apart.
type signature struct {
	algorithm, key, scope, signature string
	headers                          []string
}

func readSignature(header string) (signature, bool) {
	algorithm, rest, ok := strings.Cut(header, " ")
	s := signature{algorithm: algorithm}
	for _, part := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Access":
			s.key = value
		case "Credential":
			s.key, s.scope, _ = strings.Cut(value, "/")
		case "SignedHeaders":
			s.headers = strings.Split(value, ";")
		case "Signature":
			s.signature = value
		}
	}
	return s, ok && s.key != "" && s.signature != ""
}

const (
	basic   = "SDK-HMAC-SHA256"
	derived = "V11-HMAC-SHA256"
)

func (e *Emulator) verify(s signature, secret string, r *http.Request, body []byte, now time.Time) *apiError {
	date := r.Header.Get("X-Sdk-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || at.Sub(now).Abs() > clockSkew {
		return unauthorized("the request's time is too far off")
	}
	key, toSign := []byte(secret), []string{s.algorithm, date}
	switch {
	case s.algorithm == basic && e.o.Signing != "derived":
	case s.algorithm == derived && e.o.Signing != "basic":
		parts := strings.Split(s.scope, "/")
		if len(parts) != 3 || parts[0] != date[:8] || (e.o.Region != "" && parts[1] != e.o.Region) || parts[2] != "iotdm" {
			return unauthorized("credential scope")
		}
		raw, err := hkdf.Key(sha256.New, []byte(secret), []byte(s.key), s.scope, 32)
		if err != nil {
			return unauthorized("key derivation")
		}
		key, toSign = []byte(hex.EncodeToString(raw)), append(toSign, s.scope)
	default: // what an instance's own host says to a plain signature
		return &apiError{http.StatusUnauthorized, "IOTDA.000002", "Authentication failed"}
	}
	if !slices.Contains(s.headers, "x-sdk-date") {
		return unauthorized("x-sdk-date is not signed")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join(append(toSign, canonical(r, s.headers, body)), "\n")))
	got, err := hex.DecodeString(s.signature)
	if err != nil || !hmac.Equal(got, mac.Sum(nil)) {
		return unauthorized("verify aksk signature fail")
	}
	return nil
}

// canonical gives the hash of the request in canonical form.
func canonical(r *http.Request, headers []string, body []byte) string {
	var b bytes.Buffer
	path := r.URL.EscapedPath()
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	b.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(r.URL.Query()) + "\n")
	for _, name := range headers {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		b.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	sum := sha256.Sum256(body)
	b.WriteString("\n" + strings.Join(headers, ";") + "\n" + hex.EncodeToString(sum[:]))
	all := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(all[:])
}

func canonicalQuery(query url.Values) string {
	var pairs []string
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, escape(name)+"="+escape(v))
		}
	}
	sort.Strings(pairs)
	return strings.Join(pairs, "&")
}

// escape is RFC 3986's, which differs from net/url's in the space.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func requestID() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}

func itoa(n int) string { return strconv.Itoa(n) }
