package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// What every platform is reached with.
const (
	accessKey = "EXAMPLEACCESSKEY"
	secretKey = "example-secret-key-of-the-emulator"
	token     = "example-token-of-the-emulator" // in place of a signature
	regionID  = "cn-north-4"
)

// projectID gives the id of the n-th project.
func projectID(n int) string { return fmt.Sprintf("%032x", 0x1234567+n) }

// fleet is what a platform has.
type fleet struct {
	Projects int           `default:"1" help:"Projects, each with all of this."`
	Tasks    int           `default:"1" help:"Tasks of a project."`
	Failing  int           `default:"30000" help:"Failing sub-tasks of all tasks of a project together."`
	Healthy  int           `default:"0" help:"Sub-tasks of each task that have succeeded."`
	Latency  time.Duration `default:"20ms" help:"How long each call takes."`
	Upgrade  time.Duration `default:"1h" help:"How long a re-run takes."`
	Recover  int           `default:"1" help:"The re-run that succeeds; 0 = none."`
	Message  string        `default:"Waiting for the device online timeout" help:"Why they fail."`
	Project  int           `default:"0" help:"Number of the first project."`
	Members  bool          `help:"Rows of lists carry the ids of all devices."`
}

// args are the flags that make it again.
func (f fleet) args() []string {
	return []string{
		fmt.Sprint("--projects=", f.Projects), fmt.Sprint("--tasks=", f.Tasks), fmt.Sprint("--failing=", f.Failing), fmt.Sprint("--healthy=", f.Healthy),
		fmt.Sprint("--latency=", f.Latency), fmt.Sprint("--upgrade=", f.Upgrade), fmt.Sprint("--recover=", f.Recover), fmt.Sprint("--members=", f.Members),
		"--message=" + f.Message, fmt.Sprint("--project=", f.Project),
	}
}

type platformCmd struct {
	fleet
	Ledger string `help:"A ledger that has to know of each retry before it arrives."`
}

// Run serves projects until the process is ended. The first line that it prints is its address.
func (c platformCmd) Run(a *app) error {
	debug.SetGCPercent(400) // the contenders are measured, and this is not: it gets out of their way
	p := &platform{projects: map[string]*emulator.Emulator{}}
	for n := c.Project; n < c.Project+c.Projects; n++ {
		e, err := c.project(n)
		if err != nil {
			return err
		}
		p.projects[projectID(n)] = e
	}
	if c.Ledger != "" {
		p.witness = &witness{path: c.Ledger}
	}
	listener, err := (&net.ListenConfig{}).Listen(a.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	a.printf("%s\n", listener.Addr())
	server := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() {
		<-a.ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); a.ctx.Err() == nil {
		return err
	}
	return nil
}

func (c platformCmd) project(n int) (*emulator.Emulator, error) {
	e := emulator.New(emulator.Options{
		ProjectID: projectID(n), Region: regionID, Keys: map[string]string{accessKey: secretKey}, Tokens: []string{token}, Latency: c.Latency, Upgrade: c.Upgrade,
	})
	for i := range c.Tasks {
		failing := c.Failing / c.Tasks
		if i < c.Failing%c.Tasks {
			failing++
		}
		t := emulator.Task{Name: fmt.Sprintf("task-%03d", i), Type: iotda.FirmwareUpgrade, Created: time.Now().Add(-time.Hour), ListTargets: c.Members}
		for d := range failing + c.Healthy {
			device := emulator.Device{ID: fmt.Sprintf("%024x_t%03d-%06d", 0x65a1b2c3d4e5+n, i, d), Status: iotda.SubtaskSuccess}
			if d < failing {
				device.Status = iotda.SubtaskFail
				device.Fate = emulator.Fate{RecoverAt: c.Recover, Message: c.Message}
			}
			t.Devices = append(t.Devices, device)
		}
		if _, err := e.AddTask(t); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// platform is projects at one address, and what they have recorded under /bench.
type platform struct {
	projects map[string]*emulator.Emulator
	witness  *witness
}

// ServeHTTP finds the project of a call.
func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/bench/record" {
		if err := json.NewEncoder(w).Encode(p.record()); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		return
	}
	rest, _ := strings.CutPrefix(r.URL.Path, "/v5/iot/")
	id, _, _ := strings.Cut(rest, "/")
	e := p.projects[id]
	if e == nil {
		http.NotFound(w, r)
		return
	}
	p.witness.look(r)
	e.ServeHTTP(w, r)
}
