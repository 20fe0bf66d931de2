package notify

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"retryd/internal/store"
)

// What Slack takes: 50 blocks of 3000 characters [reference/block-kit/blocks], and in all of them
// together some 12000, which it does not say and does not always take either
// [slackapi/bolt-js issues 2509 and 2867]. A message that is refused for its length would be refused
// for a day. Bytes are counted here, of which there are never fewer.
const (
	slackText = 3000
	slackRoom = 8000
)

type slackMessage struct {
	Text   string       `json:"text"` // of notifications, and for who cannot show blocks
	Blocks []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string          `json:"type"`
	Text     *slackContent   `json:"text,omitempty"`
	Elements []*slackContent `json:"elements,omitempty"`
}

// slackContent is verbatim: what looks like an address, or like a name, becomes no link.
type slackContent struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim"`
}

func mrkdwn(text string) *slackContent { return &slackContent{"mrkdwn", text, true} }

func (m message) slack(r Receiver) ([]byte, http.Header, error) {
	title := "retryd: " + m.summary(r)
	s := slackMessage{Text: title, Blocks: []slackBlock{{Type: "section", Text: mrkdwn("*" + title + "*")}}}
	for _, text := range pack(m.slackLines(r)) {
		s.Blocks = append(s.Blocks, slackBlock{Type: "section", Text: mrkdwn(text)})
	}
	foot := "digest " + code(m.id, 120)
	if !m.test {
		foot += ", " + m.d.From.UTC().Format(time.RFC3339) + " to " + m.d.To.UTC().Format(time.RFC3339)
	}
	s.Blocks = append(s.Blocks, slackBlock{Type: "context", Elements: []*slackContent{mrkdwn(foot)}})
	body, err := json.Marshal(s)
	if err != nil {
		return nil, nil, fmt.Errorf("write the digest: %w", err)
	}
	return body, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, nil
}

// slackList is the lines of a message, as far as it has room for them.
type slackList struct {
	lines []string
	room  int
}

// add adds lines about things of a kind, at most so many, and says how many more of them there are.
func (l *slackList) add(lines []string, most, all int, one, many string) {
	n := 0
	for n < min(len(lines), most) && len(lines[n]) <= l.room {
		l.room -= len(lines[n])
		n++
	}
	l.lines = append(l.lines, lines[:n]...)
	if all > n {
		l.lines = append(l.lines, "… and "+number(all-n, "more "+one, "more "+many))
	}
}

// pack puts lines together to as few texts as Slack takes.
func pack(lines []string) (texts []string) {
	for _, line := range lines {
		if n := len(texts) - 1; n >= 0 && len(texts[n])+1+len(line) <= slackText {
			texts[n] += "\n" + line
			continue
		}
		texts = append(texts, line)
	}
	return texts
}

func (m message) slackLines(r Receiver) []string {
	if m.test {
		events := make([]string, len(r.Events))
		for i, e := range r.Events {
			events[i] = string(e)
		}
		return []string{"It is told of: " + code(strings.Join(events, ", "), 400)}
	}
	var others, tasks, targets []string
	for _, n := range m.d.Others {
		others = append(others, m.slackNotice(n))
	}
	for _, t := range m.d.Tasks {
		what := fmt.Sprintf("• task %s: *%s* given up", taskName(t.Name, t.TaskID), number(t.Targets, "target", "targets"))
		tasks = append(tasks, m.line(what+of(t.Policy, t.Connection), m.link(t.ProjectID, t.TaskID, "")))
	}
	for _, n := range m.d.Targets {
		targets = append(targets, m.slackTarget(n))
	}
	l := slackList{room: slackRoom}
	l.add(others, 10, m.count(false), "notice", "notices")
	l.add(m.slackCauses(), 1, 0, "", "")
	l.add(tasks, 10, m.d.TaskCount, "task", "tasks")
	l.add(targets, 20, m.count(true), "target", "targets")
	return l.lines
}

// slackCauses says in a line what targets failed for.
func (m message) slackCauses() []string {
	if len(m.d.Causes) == 0 {
		return nil
	}
	var parts []string
	for _, c := range m.d.Causes {
		parts = append(parts, fmt.Sprintf("%d %s", c.Targets, code(c.Rule, 64)))
	}
	if more := m.d.CauseCount - len(m.d.Causes); more > 0 {
		parts = append(parts, number(more, "more cause", "more causes"))
	}
	return []string{"• last failures: " + strings.Join(parts, ", ")}
}

// slackTarget writes the end of one.
func (m message) slackTarget(n store.Notice) string {
	what := fmt.Sprintf("• %s %s in %s", code(n.DeviceID, 128), n.Event, taskName(n.TaskName, n.TaskID))
	if n.Detail != "" {
		what += ": " + code(n.Detail, 120)
	}
	if n.Code != "" || n.Text != "" {
		what += ", last error " + code(n.Code+" "+n.Text, 120)
	}
	return m.line(what, m.link(n.ProjectID, n.TaskID, n.DeviceID))
}

// slackNotice writes one that is no end of a target.
func (m message) slackNotice(n store.Notice) string {
	switch n.Event {
	case store.ConnectionDown:
		text := fmt.Sprintf("• connection %s is *down* (%s)", code(n.Connection, 64), code(n.Code, 40))
		if n.Text != "" {
			text += ": " + code(n.Text, 200)
		}
		if n.Detail != "" {
			text += "; " + code(n.Detail, 200)
		}
		return text
	case store.ConnectionUp:
		return fmt.Sprintf("• connection %s is up again: %s", code(n.Connection, 64), code(n.Detail, 120))
	case store.AwaitingApproval:
		text := fmt.Sprintf("• task %s *awaits approval*: %s", taskName(n.TaskName, n.TaskID), code(n.Detail, 120))
		return m.line(text+of(n.Policy, n.Connection), m.link(n.ProjectID, n.TaskID, ""))
	case store.RetriesHalted, store.TargetExhausted, store.TargetPermanent, store.TargetExpired:
	}
	what := "all of the policy"
	if n.TaskID != "" {
		what = "task " + taskName(n.TaskName, n.TaskID)
	}
	return m.line(fmt.Sprintf("• %s is *halted*: %s", what, code(n.Detail, 120))+of(n.Policy, n.Connection), m.link(n.ProjectID, n.TaskID, ""))
}

// count counts the ends of targets, or the rest.
func (m message) count(targets bool) (n int) {
	for event, count := range m.d.Events {
		if event.OfTarget() == targets {
			n += count
		}
	}
	return n
}

// line adds a link, unless that makes it longer than Slack takes.
func (m message) line(text, link string) string {
	linked := text + " <" + escape.Replace(link) + "|open>"
	if link == "" || len(linked) > slackText {
		return text
	}
	return linked
}

func of(policy, connection string) string {
	return " (policy " + code(policy, 64) + ", connection " + code(connection, 64) + ")"
}

func taskName(name, id string) string {
	if name == "" {
		name = id
	}
	return code(name, 64)
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// escape is all that Slack asks for [messaging/formatting-message-text#escaping].
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// code shows a text that is somebody else's as it is: in code nothing is bold, a mention or a link.
func code(text string, n int) string {
	text = strings.ReplaceAll(clip(text, n), "`", "'")
	if text == "" {
		return "–"
	}
	return "`" + escape.Replace(text) + "`"
}
