package prometheus_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// alert is one that Alertmanager sends.
type alert struct {
	Status              string
	Labels, Annotations map[string]string
}

// receiver is where Alertmanager's webhooks go.
type receiver struct {
	address string
	mu      sync.Mutex
	got     map[string][]alert // by path
}

func listen(t *testing.T) *receiver {
	r := &receiver{got: map[string][]alert{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var message struct{ Alerts []alert }
		if err := json.NewDecoder(request.Body).Decode(&message); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got[request.URL.Path] = append(r.got[request.URL.Path], message.Alerts...)
	}))
	t.Cleanup(server.Close)
	r.address = strings.TrimPrefix(server.URL, "http://")
	return r
}

// wait waits for an alert to come.
func (r *receiver) wait(t *testing.T, path, name, status string) (found alert) {
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, a := range r.got[path] {
			if a.Labels["alertname"] == name && a.Status == status {
				found = a
				return true
			}
		}
		return false
	}, soon, 100*time.Millisecond, "%s did not come to %s as %s", name, path, status)
	return found
}

// get asks Prometheus; while it starts there is no answer, and into stays as it is.
func get(t *testing.T, address, path string, into any) {
	reply, err := http.Get("http://" + address + path)
	if err != nil {
		return
	}
	defer reply.Body.Close()
	if reply.StatusCode == http.StatusServiceUnavailable {
		return
	}
	require.Equal(t, http.StatusOK, reply.StatusCode, path)
	require.NoError(t, json.NewDecoder(reply.Body).Decode(into))
}

// query gives the series that an expression has now.
func query(t *testing.T, address, expr string) (labels []map[string]string) {
	var reply struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	get(t, address, "/api/v1/query?query="+url.QueryEscape(expr), &reply)
	for _, r := range reply.Data.Result {
		labels = append(labels, r.Metric)
	}
	return labels
}

// healthy counts the rules that were evaluated without an error.
func healthy(t *testing.T, address string) (n int) {
	var reply struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	get(t, address, "/api/v1/rules", &reply)
	for _, g := range reply.Data.Groups {
		for _, r := range g.Rules {
			require.Equal(t, "ok", r.Health, "%s: %s", r.Name, r.LastError)
			n++
		}
	}
	return n
}
