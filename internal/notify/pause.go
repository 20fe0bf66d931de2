package notify

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	restLeast, restMost = 5 * time.Second, 15 * time.Minute
	// A receiver that refuses a digest is not mended by time alone, but a person may do it.
	slowLeast, slowMost = 2 * time.Minute, time.Hour
	// retryAfterMost caps what Retry-After may ask for.
	retryAfterMost = time.Hour
)

// restAfter gives the rest after a try that failed, where so many had failed before.
func restAfter(tries int, err error) time.Duration {
	least, most := restLeast, restMost
	var refused *refusal
	if errors.As(err, &refused) && refused.lasting() {
		least, most = slowLeast, slowMost
	}
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(least), backoff.WithMaxInterval(most),
		backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.2), backoff.WithMaxElapsedTime(0))
	rest := pauses.NextBackOff()
	for range min(tries, 20) {
		rest = pauses.NextBackOff()
	}
	rest = min(rest, most)
	if refused != nil {
		rest = max(rest, refused.retryAfter)
	}
	return rest
}

// retryAfter reads the header: seconds, or a moment.
func retryAfter(header string, now time.Time) time.Duration {
	asked := time.Duration(0)
	if seconds, err := strconv.ParseInt(header, 10, 32); err == nil {
		asked = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		asked = at.Sub(now)
	}
	return min(max(asked, 0), retryAfterMost)
}
