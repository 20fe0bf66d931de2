package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"retryd/internal/store"
)

// Version is that of the JSON format. Keys are added to it without another one.
const Version = 1

// The headers of the JSON format.
const (
	DigestHeader    = "Retryd-Digest"
	SignatureHeader = "Retryd-Signature"
)

// jsonDigest is the JSON format, as docs/notices.md has it.
type jsonDigest struct {
	Version   int                 `json:"version"`
	ID        string              `json:"id"`
	Receiver  string              `json:"receiver"`
	Test      bool                `json:"test"`
	From      time.Time           `json:"from"`
	To        time.Time           `json:"to"`
	Summary   string              `json:"summary"`
	Counts    map[store.Event]int `json:"counts"`
	Notices   []jsonNotice        `json:"notices"` // the first 20 that are no ends of targets
	Targets   []jsonNotice        `json:"targets"` // the first 20 that are
	Tasks     []jsonTask          `json:"tasks"`   // the 20 with the most of these
	TaskCount int                 `json:"task_count"`
	Causes    []jsonCause         `json:"causes"` // the 20 with the most of these
}

type jsonNotice struct {
	Event      store.Event `json:"event"`
	At         time.Time   `json:"at"`
	Policy     string      `json:"policy,omitempty"`
	Connection string      `json:"connection"`
	ProjectID  string      `json:"project_id,omitempty"`
	TaskID     string      `json:"task_id,omitempty"`
	TaskName   string      `json:"task_name,omitempty"`
	DeviceID   string      `json:"device_id,omitempty"`
	Attempts   int         `json:"attempts,omitempty"`
	Reason     string      `json:"reason,omitempty"` // why a connection is down
	Detail     string      `json:"detail,omitempty"`
	ErrorCode  string      `json:"error_code,omitempty"`
	Error      string      `json:"error,omitempty"`
	Rule       string      `json:"rule,omitempty"`
	Class      string      `json:"class,omitempty"`
	URL        string      `json:"url,omitempty"`
}

type jsonTask struct {
	Policy     string `json:"policy"`
	Connection string `json:"connection"`
	ProjectID  string `json:"project_id"`
	TaskID     string `json:"task_id"`
	Name       string `json:"name,omitempty"`
	Targets    int    `json:"targets"`
	URL        string `json:"url,omitempty"`
}

type jsonCause struct {
	Rule    string `json:"rule"`
	Class   string `json:"class"`
	Targets int    `json:"targets"`
}

func (m message) json(r Receiver) ([]byte, http.Header, error) {
	j := jsonDigest{
		Version: Version, ID: m.id, Receiver: r.Name, Test: m.test, From: m.d.From, To: m.d.To, Summary: m.summary(r), Counts: map[store.Event]int{},
		Notices: m.jsonNotices(m.d.Others), Targets: m.jsonNotices(m.d.Targets), Tasks: []jsonTask{}, TaskCount: m.d.TaskCount, Causes: []jsonCause{},
	}
	for _, event := range store.Events() {
		j.Counts[event] = m.d.Events[event]
	}
	for _, t := range m.d.Tasks {
		j.Tasks = append(j.Tasks, jsonTask{t.Policy, t.Connection, t.ProjectID, t.TaskID, t.Name, t.Targets, m.link(t.ProjectID, t.TaskID, "")})
	}
	for _, c := range m.d.Causes {
		j.Causes = append(j.Causes, jsonCause{c.Rule, c.Class, c.Targets})
	}
	body, err := json.Marshal(j)
	if err != nil {
		return nil, nil, fmt.Errorf("write the digest: %w", err)
	}
	header := http.Header{"Content-Type": {"application/json"}, DigestHeader: {m.id}}
	if r.Secret != "" {
		header.Set(SignatureHeader, Sign(r.Secret, body, m.now))
	}
	return body, header, nil
}

func (m message) jsonNotices(notices []store.Notice) []jsonNotice {
	out := make([]jsonNotice, len(notices))
	for i, n := range notices {
		out[i] = jsonNotice{
			Event: n.Event, At: n.At, Policy: n.Policy, Connection: n.Connection, ProjectID: n.ProjectID, TaskID: n.TaskID, TaskName: n.TaskName,
			DeviceID: n.DeviceID, Attempts: n.Attempts, Detail: n.Detail, ErrorCode: n.Code, Error: n.Text,
			Rule: n.Rule, Class: n.Class, URL: m.link(n.ProjectID, n.TaskID, n.DeviceID),
		}
		if n.Event == store.ConnectionDown {
			out[i].Reason, out[i].ErrorCode = n.Code, ""
		}
	}
	return out
}

// Sign gives the signature of a body at a moment: what a receiver has to come to, too.
func Sign(secret string, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
