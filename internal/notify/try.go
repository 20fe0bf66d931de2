package notify

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"retryd/internal/store"
)

// Try sends a test digest to a receiver now. It tells of nothing, and no ledger knows of it.
func Try(ctx context.Context, r Receiver, userAgent string, transport http.RoundTripper) (id string, err error) {
	now := time.Now().UTC()
	s := &Sender{o: Options{UserAgent: userAgent}, client: newClient(transport)}
	m := message{id: fmt.Sprintf("%s-test-%d", r.Name, now.Unix()), d: &store.Digest{From: now, To: now}, now: now, test: true}
	return m.id, s.post(ctx, r, m)
}
