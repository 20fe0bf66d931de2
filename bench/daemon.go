package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// daemon is `retryd run`.
type daemon struct {
	cmd     *exec.Cmd
	address string
	ready   time.Duration // from its start to READY=1, as systemd would get it
	out     strings.Builder
}

// launch starts a daemon and waits until it says that it is ready.
func (w *workshop) launch(ctx context.Context, file, address string) (*daemon, error) {
	socket := filepath.Join(w.folder, "notify")
	_ = os.Remove(socket) // an earlier one's
	listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	d := &daemon{cmd: exec.CommandContext(ctx, w.retryd, "-c", file, "run"), address: address}
	d.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	d.cmd.Stdout, d.cmd.Stderr, d.cmd.SysProcAttr = &d.out, &d.out, dying()
	begun := time.Now()
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	if err := listener.SetReadDeadline(begun.Add(time.Minute)); err != nil {
		return nil, err
	}
	message := make([]byte, 4096)
	for {
		n, err := listener.Read(message)
		if err != nil {
			_ = d.stop() // that it was not ready counts
			return nil, fmt.Errorf("it does not become ready: %w\n%s", err, d.out.String())
		}
		if strings.Contains(string(message[:n]), "READY=1") {
			d.ready = time.Since(begun)
			return d, nil
		}
	}
}

// stop ends it as systemd does.
func (d *daemon) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := d.cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		return err
	}
	return nil
}

// metrics reads what it exports.
func (d *daemon) metrics(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.address+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(resp.Body)
}

// total sums a family over its labels: values, and of histograms sums and counts.
func total(families map[string]*dto.MetricFamily, name string) (sum float64, count uint64) {
	for _, m := range families[name].GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
		count += m.GetHistogram().GetSampleCount()
	}
	return sum, count
}

// freeAddress finds a port of the loopback.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// sleep waits, or until the program is to end.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
