package emulator

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"retryd/internal/iotda"
)

// Fault is something that goes wrong with one call.
type Fault string

// The faults.
const (
	FaultHTML          Fault = "html"           // 200 with a page of HTML
	Fault503HTML       Fault = "503-html"       // 503 with a page of HTML
	Fault502           Fault = "502"            // 502 without a body
	FaultThrottled     Fault = "throttled"      // 429, Retry-After: 1
	FaultRefused       Fault = "refused"        // 403 in the platform's own words
	FaultGone          Fault = "gone"           // 404 in the platform's own words
	FaultRedirect      Fault = "redirect"       // to another path
	FaultCut           Fault = "cut"            // the connection is cut before any effect
	FaultCutBody       Fault = "cut-body"       // applied; the reply is cut in the middle
	FaultLostReply     Fault = "lost-reply"     // applied; the connection is cut before the reply
	FaultEmpty         Fault = "empty"          // applied; 200 without a body
	FaultWrongTypes    Fault = "wrong-types"    // applied; the reply's lists are strings
	FaultUnknownStatus Fault = "unknown-status" // the reply's statuses are words nobody knows
	FaultUnknownField  Fault = "unknown-field"  // the reply has fields nobody knows
	FaultDoubleRow     Fault = "double-row"     // the reply's first row comes twice
	FaultMissingRow    Fault = "missing-row"    // the reply's first row is left out
	FaultExtraRow      Fault = "extra-row"      // the reply names a target that is not its own
)

// Faults lists all faults.
func Faults() []Fault {
	return []Fault{
		FaultHTML, Fault503HTML, Fault502, FaultThrottled, FaultRefused, FaultGone, FaultRedirect, FaultCut, FaultCutBody, FaultLostReply, FaultEmpty,
		FaultWrongTypes, FaultUnknownStatus, FaultUnknownField, FaultDoubleRow, FaultMissingRow, FaultExtraRow,
	}
}

const refusedCode = "IOTDA.014217"

func (e *Emulator) faultFor(c Call) Fault {
	e.mu.Lock()
	f := e.fault
	e.mu.Unlock()
	if f == nil {
		return ""
	}
	return f(c)
}

const html = "<!DOCTYPE html><html><head><title>Please sign in</title></head><body>proxy</body></html>"

// before writes the reply of a fault that keeps the call from having any effect.
func before(w http.ResponseWriter, f Fault) bool {
	switch f {
	case FaultHTML:
		write(w, http.StatusOK, "text/html", html)
	case Fault503HTML:
		write(w, http.StatusServiceUnavailable, "text/html", html)
	case Fault502:
		write(w, http.StatusBadGateway, "", "")
	case FaultThrottled:
		w.Header().Set("Retry-After", "1")
		writeError(w, &apiError{http.StatusTooManyRequests, "APIGW.0308", "The throttling threshold has been reached"})
	case FaultRefused:
		writeError(w, &apiError{http.StatusForbidden, refusedCode, "Operation not allowed."})
	case FaultGone:
		writeError(w, &apiError{http.StatusNotFound, noSuchTask, "The batch task does not exist"})
	case FaultRedirect:
		w.Header().Set("Location", "/elsewhere")
		write(w, http.StatusTemporaryRedirect, "text/html", html)
	case FaultCut:
	default:
		return false
	}
	return true
}

func cutOff(f Fault) {
	if f == FaultCut {
		panic(http.ErrAbortHandler)
	}
}

// outcome completes the record of a call.
func (e *Emulator) outcome(n int, _ http.ResponseWriter, f Fault, refusal *apiError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &e.calls[n]
	switch {
	case refusal != nil:
		c.Status, c.Code = refusal.status, refusal.code
	case f == FaultCut || f == FaultLostReply:
		c.Status = 0
	case f == Fault503HTML:
		c.Status = http.StatusServiceUnavailable
	case f == Fault502:
		c.Status = http.StatusBadGateway
	case f == FaultThrottled:
		c.Status, c.Code = http.StatusTooManyRequests, "APIGW.0308"
	case f == FaultRefused:
		c.Status, c.Code = http.StatusForbidden, refusedCode
	case f == FaultGone:
		c.Status, c.Code = http.StatusNotFound, noSuchTask
	case f == FaultRedirect:
		c.Status = http.StatusTemporaryRedirect
	default:
		c.Status = http.StatusOK
	}
}

func writeReply(w http.ResponseWriter, reply any, f Fault) {
	data, err := json.Marshal(reply)
	if err != nil {
		panic(err) // our own types
	}
	text := spoil(string(data), f)
	if f == FaultCutBody {
		w.Header().Set("Content-Length", itoa(len(text)))
		write(w, http.StatusOK, "application/json", text[:len(text)/2])
		panic(http.ErrAbortHandler)
	}
	write(w, http.StatusOK, "application/json", text)
}

// spoil changes a good reply as the fault says.
func spoil(text string, f Fault) string {
	switch f {
	case FaultEmpty:
		return ""
	case FaultUnknownStatus:
		for _, s := range iotda.TaskStatuses() {
			text = strings.ReplaceAll(text, `"status":"`+string(s)+`"`, `"status":"Paused"`)
		}
		for _, s := range iotda.SubtaskStatuses() {
			text = strings.ReplaceAll(text, `"status":"`+string(s)+`"`, `"status":"Paused"`)
		}
		for _, s := range []string{iotda.TargetSuccess, iotda.TargetFailure} {
			text = strings.ReplaceAll(text, `"status":"`+s+`"`, `"status":"Paused"`)
		}
		return text
	case FaultUnknownField:
		return `{"new_in_2027":{"a":[1,2,{"b":null}]},` + strings.TrimPrefix(text, "{")
	case FaultWrongTypes, FaultDoubleRow, FaultMissingRow, FaultExtraRow:
		return spoilRows(text, f)
	}
	return text
}

func spoilRows(text string, f Fault) string {
	var reply map[string]any
	if err := json.Unmarshal([]byte(text), &reply); err != nil {
		panic(err)
	}
	for _, name := range []string{"batchtasks", "task_details", "targets"} {
		rows, ok := reply[name].([]any)
		if !ok || len(rows) == 0 {
			continue
		}
		switch f {
		case FaultWrongTypes:
			reply[name] = "none"
		case FaultDoubleRow:
			reply[name] = append(rows, rows[0])
		case FaultMissingRow:
			reply[name] = rows[1:]
		case FaultExtraRow:
			reply[name] = append(rows, map[string]any{"target": "not-asked-for", "status": rows[0].(map[string]any)["status"]})
		}
	}
	data, err := json.Marshal(reply)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func writeError(w http.ResponseWriter, e *apiError) {
	data, err := json.Marshal(map[string]string{"error_code": e.code, "error_msg": e.message})
	if err != nil {
		panic(err)
	}
	write(w, e.status, "application/json", string(data))
}

func write(w http.ResponseWriter, status int, contentType, text string) {
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.Header().Set("X-Request-Id", requestID())
	if w.Header().Get("Date") == "" {
		w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a caller that has gone misses nothing
}
