package emulator

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"retryd/internal/iotda"
)

// writeReply sends a reply as the call's fault has it. It tells whether all of it was sent.
func (e *Emulator) writeReply(w http.ResponseWriter, r *http.Request, reply any, c Call) bool {
	data, err := json.Marshal(reply)
	if err != nil {
		panic(err) // our own types
	}
	text := spoil(string(data), c)
	switch c.Fault {
	case FaultCutBody:
		w.Header().Set("Content-Length", itoa(len(text)))
		write(w, http.StatusOK, "application/json", text[:len(text)/2])
		_ = http.NewResponseController(w).Flush() // else the head is cut off too
		panic(http.ErrAbortHandler)
	case FaultSlowHeaders:
		if !wait(r, e.o.Slow) {
			return false
		}
	case FaultSlowBody:
		return trickle(w, r, text, e.o.Slow)
	case FaultHuge:
		return pad(w, text, e.o.Huge)
	}
	write(w, http.StatusOK, "application/json", text)
	return true
}

// trickle sends a reply in so many pieces over some time.
func trickle(w http.ResponseWriter, r *http.Request, text string, over time.Duration) bool {
	const pieces = 20
	head(w, http.StatusOK, "application/json")
	for rest := text; rest != ""; {
		n := min(len(text)/pieces+1, len(rest))
		if _, err := io.WriteString(w, rest[:n]); err != nil {
			return false
		}
		_ = http.NewResponseController(w).Flush() // what cannot, holds it back longer
		if rest = rest[n:]; !wait(r, over/pieces) {
			return false
		}
	}
	return true
}

// pad sends a reply with a field of so many bytes before its own: made as it is sent.
func pad(w http.ResponseWriter, text string, size int) bool {
	head(w, http.StatusOK, "application/json")
	block := bytes.Repeat([]byte("x"), 1<<15)
	_, err := io.WriteString(w, `{"padding":"`)
	for left := size; left > 0 && err == nil; left -= len(block) {
		_, err = w.Write(block[:min(left, len(block))])
	}
	if err == nil {
		_, err = io.WriteString(w, `",`+strings.TrimPrefix(text, "{"))
	}
	return err == nil
}

// spoil changes a good reply as the call's fault says.
func spoil(text string, c Call) string {
	switch c.Fault {
	case FaultEmpty:
		return ""
	case FaultUnknownStatus:
		for _, s := range iotda.TaskStatuses() {
			text = strings.ReplaceAll(text, `"status":"`+string(s)+`"`, `"status":"Paused"`)
		}
		for _, s := range iotda.SubtaskStatuses() {
			text = strings.ReplaceAll(text, `"status":"`+string(s)+`"`, `"status":"Paused"`)
		}
		for _, s := range []string{iotda.TargetSuccess, iotda.TargetFailure, iotda.DeviceOnline} {
			text = strings.ReplaceAll(text, `"status":"`+s+`"`, `"status":"Paused"`)
		}
		return text
	case FaultUnknownField:
		return `{"new_in_2027":{"a":[1,2,{"b":null}]},` + strings.TrimPrefix(text, "{")
	case FaultWrongTypes, FaultDoubleRow, FaultMissingRow, FaultExtraRow, FaultContradiction, FaultSuccessCode, FaultMarker:
		return spoilRows(text, c)
	}
	return text
}

func spoilRows(text string, c Call) string {
	var reply map[string]any
	if err := json.Unmarshal([]byte(text), &reply); err != nil {
		panic(err)
	}
	for _, name := range []string{"batchtasks", "task_details", "targets", "devices", "applications"} {
		if rows, ok := reply[name].([]any); ok && len(rows) > 0 {
			reply[name] = spoilt(rows, c.Fault)
		}
	}
	if page, ok := reply["page"].(map[string]any); ok && c.Fault == FaultMarker {
		if page["marker"] = c.Query.Get("marker"); page["marker"] == "" {
			page["marker"] = iotda.FirstMarker
		}
	}
	data, err := json.Marshal(reply)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func spoilt(rows []any, f Fault) any {
	first, _ := rows[0].(map[string]any)
	switch f {
	case FaultWrongTypes:
		return "none"
	case FaultDoubleRow:
		return append(rows, first)
	case FaultMissingRow:
		return rows[1:]
	case FaultExtraRow:
		return append(rows, map[string]any{"target": NotAskedFor, "status": first["status"]})
	case FaultContradiction:
		opposite := iotda.TargetSuccess
		if first["status"] == opposite {
			opposite = iotda.TargetFailure
		}
		return append(rows, map[string]any{"target": first["target"], "status": opposite})
	case FaultSuccessCode:
		for _, row := range rows {
			if row := row.(map[string]any); row["status"] == iotda.TargetSuccess {
				row["error_code"] = "IOTDA.014220"
			}
		}
	}
	return rows
}

// NotAskedFor is the target of FaultExtraRow.
const NotAskedFor = "not-asked-for"
