package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// floorCmd makes the calls that cannot be done without, and nothing else: no signature, no ledger,
// no rate, no decision. Pages are read as the API lets them be: eleven from one marker at the same
// time, and the next marker comes with the last of them. A wave is retried, a hundred
// targets a call, while the next one is read.
type floorCmd struct {
	Address string `arg:""`
	Project string `arg:""`
	Slots   int64  `default:"16"`
}

type floor struct {
	client *http.Client
	base   string
	slots  *semaphore.Weighted
}

// Run retries all that fails.
func (c floorCmd) Run(a *app) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = int(c.Slots)
	f := &floor{client: &http.Client{Transport: transport}, base: "http://" + c.Address + "/v5/iot/" + c.Project + "/batchtasks", slots: semaphore.NewWeighted(c.Slots)}
	g, ctx := errgroup.WithContext(a.ctx)
	for _, kind := range []string{"firmwareUpgrade", "softwareUpgrade"} {
		g.Go(func() error {
			var list struct {
				Tasks []struct {
					ID string `json:"task_id"`
				} `json:"batchtasks"`
			}
			if err := f.call(ctx, http.MethodGet, "?limit=50&task_type="+kind, nil, &list); err != nil {
				return err
			}
			for _, task := range list.Tasks {
				g.Go(func() error { return f.task(ctx, task.ID) })
			}
			return nil
		})
	}
	return g.Wait()
}

type floorPage struct {
	Task struct {
		Progress struct {
			Fail int `json:"fail"`
		} `json:"task_progress"`
	} `json:"batchtask"`
	Rows []struct {
		Target string `json:"target"`
	} `json:"task_details"`
	Page struct {
		Marker string `json:"marker"`
	} `json:"page"`
}

func (f *floor) task(ctx context.Context, id string) error {
	g, ctx := errgroup.WithContext(ctx)
	read := make(chan []floorPage, 32)
	g.Go(func() error {
		defer close(read)
		return f.read(ctx, id, read)
	})
	var ready []string
	for wave := range read {
		for _, page := range wave {
			for _, row := range page.Rows {
				ready = append(ready, row.Target)
			}
		}
		for len(ready) >= 100 {
			batch := ready[:100:100]
			ready = ready[100:]
			g.Go(func() error { return f.retry(ctx, id, batch) })
		}
	}
	if len(ready) > 0 {
		g.Go(func() error { return f.retry(ctx, id, ready) })
	}
	return g.Wait()
}

// read reads wave after wave. The rows of one are given on when all of it has been read: a retry
// would move those that are left.
func (f *floor) read(ctx context.Context, id string, read chan<- []floorPage) error {
	g, ctx := errgroup.WithContext(ctx)
	page := func(marker string, offset int) (page floorPage, err error) {
		path := fmt.Sprintf("/%s?task_detail_status=Fail&limit=50&marker=%s&offset=%d", id, marker, offset)
		return page, f.call(ctx, http.MethodGet, path, nil, &page)
	}
	last, err := page("ffffffffffffffffffffffff", 0)
	if err != nil {
		return err
	}
	read <- []floorPage{last}
	for left := (last.Task.Progress.Fail - 1) / 50; left > 0; left -= min(left, 11) {
		from, wave := last.Page.Marker, make([]floorPage, min(left, 11))
		var inner errgroup.Group
		for n := range len(wave) - 1 {
			inner.Go(func() (err error) {
				wave[n], err = page(from, 50*n)
				return err
			})
		}
		if last, err = page(from, 50*(len(wave)-1)); err != nil {
			return errors.Join(err, inner.Wait())
		}
		wave[len(wave)-1] = last
		g.Go(func() error {
			if err := inner.Wait(); err != nil {
				return err
			}
			select {
			case read <- wave:
			case <-ctx.Done():
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

func (f *floor) retry(ctx context.Context, id string, targets []string) error {
	var answer struct {
		Targets []struct {
			Status string `json:"status"`
		} `json:"targets"`
	}
	return f.call(ctx, http.MethodPost, "/"+id+"/retry", map[string]any{"targets": targets}, &answer)
}

func (f *floor) call(ctx context.Context, method, path string, body, reply any) error {
	if err := f.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	defer f.slots.Release(1)
	var data []byte
	var err error
	if body != nil {
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, f.base+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", token)
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if data, err = io.ReadAll(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	return json.Unmarshal(data, reply)
}
