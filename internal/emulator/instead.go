package emulator

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"retryd/internal/iotda"
)

// Refusal is a reply in the platform's or the gateway's own form. Nothing is applied.
func Refusal(status int, code string) Fault { return Fault(strconv.Itoa(status) + "-" + code) }

// Page is a page of HTML, as a proxy sends it. Nothing is applied.
func Page(status int) Fault { return Fault(strconv.Itoa(status) + "-html") }

// Bare is a status without a body. Nothing is applied.
func Bare(status int) Fault { return Fault(strconv.Itoa(status)) }

// Refusals lists the forms in which a call is documented or reported to be refused
// [iotda-api.md 3], and those of a proxy.
func Refusals() []Fault {
	return []Fault{
		Refusal(400, "IOTDA.000006"), Refusal(400, "IOTDA.000008"), Refusal(400, "IOTDA.000017"), Refusal(400, "APIGW.0201"), Refusal(413, "APIGW.0201"),
		Refusal(401, "IOTDA.000002"), Refusal(401, "APIGW.0301"), Refusal(401, "APIG.0301"), Refusal(401, "APIGW.0303"), Refusal(401, "APIGW.0305"), Refusal(401, "APIGW.0307"),
		Refusal(403, "IOTDA.000004"), Refusal(403, "IOTDA.000021"), Refusal(403, "IOTDA.000029"), Refusal(403, "IOTDA.000034"), Refusal(403, "IOTDA.014016"),
		Refusal(403, "IOTDA.021101"), Refusal(403, "IOTDA.021102"), Refusal(403, "APIGW.0302"), Refusal(403, "APIGW.0304"), Refusal(403, "APIGW.0306"),
		Refusal(404, "IOTDA.000029"), Refusal(404, "APIGW.0101"), Refusal(429, "APIGW.0308"), Refusal(429, "APIG.0308"),
		Refusal(500, "IOTDA.000005"), Refusal(503, "APIGW.0602"), Refusal(504, "APIGW.0605"),
		Page(403), Page(404), Page(429), Page(504), Bare(401), Bare(429), Bare(500), Bare(503),
	}
}

// instead is a reply that comes instead of the emulator's own.
type instead struct {
	status     int
	code       string // of a body in the platform's form
	page       bool   // of HTML
	retryAfter string
	location   string
	applied    bool // the call has its effect first
}

// instead tells whether there is one.
func (f Fault) instead() (instead, bool) {
	switch f {
	case FaultHTML:
		return instead{status: http.StatusOK, page: true}, true
	case FaultRedirect:
		return instead{status: http.StatusTemporaryRedirect, page: true, location: "/elsewhere"}, true
	case FaultThrottled:
		return instead{status: http.StatusTooManyRequests, code: "APIGW.0308", retryAfter: "1"}, true
	case FaultThrottledHour:
		return instead{status: http.StatusTooManyRequests, code: "APIGW.0308", retryAfter: "3600"}, true
	case FaultRefused:
		return instead{status: http.StatusForbidden, code: "IOTDA.014217"}, true
	case FaultSkew:
		return instead{status: http.StatusUnauthorized, code: "APIGW.0301"}, true
	case FaultGone:
		return instead{status: http.StatusNotFound, code: noSuchTask}, true
	case Fault500Applied:
		return instead{status: http.StatusInternalServerError, code: "IOTDA.000005", applied: true}, true
	case Fault504Applied:
		return instead{status: http.StatusGatewayTimeout, code: "APIGW.0605", applied: true}, true
	}
	text, rest, _ := strings.Cut(string(f), "-")
	status, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return instead{}, false
	case rest == "html":
		return instead{status: status, page: true}, true
	case rest == "" || iotda.IsAPICode(rest):
		return instead{status: status, code: rest}, true
	}
	return instead{}, false
}

const html = "<!DOCTYPE html><html><head><title>Please sign in</title></head><body>proxy</body></html>"

func (i instead) write(w http.ResponseWriter) {
	for name, value := range map[string]string{"Retry-After": i.retryAfter, "Location": i.location} {
		if value != "" {
			w.Header().Set(name, value)
		}
	}
	switch {
	case i.page:
		write(w, i.status, "text/html", html)
	case i.code != "":
		writeError(w, &apiError{i.status, i.code, messages[i.code]})
	default:
		write(w, i.status, "", "")
	}
}

// messages are the platform's words, where a test may look for them.
var messages = map[string]string{
	"APIGW.0308": "The throttling threshold has been reached", "IOTDA.014217": "Operation not allowed.", noSuchTask: "The batch task does not exist",
	"APIGW.0301": "Incorrect IAM authentication information: verify aksk signature fail", "IOTDA.000006": "Invalid input data.",
}

func writeError(w http.ResponseWriter, e *apiError) {
	data, err := json.Marshal(map[string]string{"error_code": e.code, "error_msg": e.message})
	if err != nil {
		panic(err)
	}
	write(w, e.status, "application/json", string(data))
}

func write(w http.ResponseWriter, status int, contentType, text string) {
	head(w, status, contentType)
	_, _ = w.Write([]byte(text)) // a caller that has gone misses nothing
}

func head(w http.ResponseWriter, status int, contentType string) {
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.Header().Set("X-Request-Id", requestID())
	if w.Header().Get("Date") == "" {
		w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	w.WriteHeader(status)
}
