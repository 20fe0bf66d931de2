package notify

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"retryd/internal/store"
)

// message is a digest on its way to a receiver.
type message struct {
	id       string
	d        *store.Digest
	external string // that links begin with; empty = there are none
	now      time.Time
	test     bool // it tells of nothing
}

func (m message) encode(r Receiver) (body []byte, header http.Header, err error) {
	if r.Format == Slack {
		return m.slack(r)
	}
	return m.json(r)
}

// words are what a number of each event is called.
var words = map[store.Event][2]string{
	store.ConnectionDown:   {"connection down", "connections down"},
	store.RetriesHalted:    {"halt", "halts"},
	store.AwaitingApproval: {"task awaits approval", "tasks await approval"},
	store.TargetExhausted:  {"target exhausted", "targets exhausted"},
	store.TargetPermanent:  {"target failed for good", "targets failed for good"},
	store.TargetExpired:    {"target expired", "targets expired"},
	store.ConnectionUp:     {"connection up again", "connections up again"},
}

// summary counts the events in words.
func (m message) summary(r Receiver) string {
	if m.test {
		return "a test: retryd reaches receiver " + r.Name
	}
	var parts []string
	for _, event := range store.Events() {
		if n := m.d.Events[event]; n == 1 {
			parts = append(parts, "1 "+words[event][0])
		} else if n > 1 {
			parts = append(parts, fmt.Sprintf("%d %s", n, words[event][1]))
		}
	}
	return strings.Join(parts, ", ")
}

// link gives the address of a page about a task, or about a device in it; empty where nobody has
// said where retryd is reached.
func (m message) link(projectID, taskID, deviceID string) string {
	if m.external == "" || projectID == "" || taskID == "" {
		return ""
	}
	if deviceID != "" {
		return m.external + "/devices?" + url.Values{"device": {deviceID}, "task": {taskID}}.Encode()
	}
	link := m.external + "/tasks"
	for _, segment := range []string{projectID, taskID} {
		if segment == "." || segment == ".." { // a browser would go elsewhere
			return ""
		}
		link += "/" + url.PathEscape(segment)
	}
	return link
}

// clip cuts a text to n characters, and makes one line of it, which shows all that is in it: no
// character turns the direction of others around.
func clip(text string, n int) string {
	text = strings.Join(strings.Fields(strings.Map(shown, text)), " ")
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

func shown(r rune) rune {
	if unicode.IsGraphic(r) || unicode.IsSpace(r) {
		return r
	}
	return unicode.ReplacementChar
}
