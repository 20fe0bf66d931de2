package notify

import (
	"reflect"
	"time"

	"retryd/internal/store"
)

// Format is the form of what a receiver is sent.
type Format string

// The formats.
const (
	Slack Format = "slack" // of Slack's incoming webhooks
	JSON  Format = "json"  // retryd's own
)

// Receiver is who is told.
type Receiver struct {
	Name        string
	URL         string // a secret: it is in no log, error or metric
	Format      Format
	Events      []store.Event
	All         bool     // of every policy, and of every connection
	Policies    []string // else of these
	Connections []string // and of these connections' own events
	Batch       time.Duration
	Secret      string // of the signature; empty = there is none
	Timeout     time.Duration
}

// same tells whether nothing about it has changed.
func (r Receiver) same(other Receiver) bool { return reflect.DeepEqual(r, other) }

func (r Receiver) subscription(holder string) store.Subscription {
	return store.Subscription{
		Name: r.Name, Events: r.Events, All: r.All, Policies: r.Policies, Connections: r.Connections, Batch: r.Batch,
		Holder: holder, Hold: r.Timeout + grace + time.Minute,
	}
}
