package iotdaclient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

// pages is a platform whose pages are what a script says: four bytes a page. One marker's pages
// follow those of the marker before; after the script's end all are empty.
type pages struct {
	mu      sync.Mutex
	script  []byte
	markers []string // in the order in which they were asked for
	calls   int
}

// maxCalls is more than any script has pages.
const maxCalls = 2000

func (p *pages) reply(r *http.Request) *http.Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.calls > maxCalls {
		return reply(500, nil, false)
	}
	query := r.URL.Query()
	marker := query.Get("marker")
	wave := len(p.markers) - 1
	if wave < 0 || p.markers[wave] != marker {
		wave++
		p.markers = append(p.markers, marker)
	}
	if query.Get("limit") != "50" {
		return reply(400, nil, false)
	}
	offset, _ := strconv.Atoi(query.Get("offset"))
	body, err := json.Marshal(p.page(marker, wave*iotdaclient.MaxWavePages+offset/iotda.MaxPageSize))
	if err != nil {
		panic(err)
	}
	return reply(200, body, false)
}

func (p *pages) page(marker string, number int) map[string]any {
	rows, first, next, total := 0, 0, byte(0), byte(0)
	if at := 4 * number; at+4 <= len(p.script) {
		rows, first, next, total = int(p.script[at])%60, int(p.script[at+1]), p.script[at+2], p.script[at+3]
		if p.script[at] >= 200 { // most pages are full
			rows = iotda.MaxPageSize
		}
	}
	tasks, subtasks, devices := []iotda.Task{}, []iotda.Subtask{}, []iotda.Device{}
	id := ""
	for i := range rows {
		id = fmt.Sprintf("%022x%02x", 0xffff-8*number-first, 255-i)
		if total%16 == 1 && i%2 == 1 {
			id = fmt.Sprintf("%024x", first) // a row again and again
		}
		tasks = append(tasks, iotda.Task{ID: id, Type: iotda.FirmwareUpgrade, Status: iotda.TaskFail})
		subtasks = append(subtasks, iotda.Subtask{Target: id, Status: iotda.SubtaskFail})
		devices = append(devices, iotda.Device{ID: id, Status: iotda.DeviceOnline})
	}
	return map[string]any{
		"batchtasks": tasks, "task_details": subtasks, "devices": devices,
		"batchtask": iotda.Task{Status: iotda.TaskFail, Progress: iotda.Progress{Total: int(total) * 50, Fail: int(total) * 50}},
		"page":      iotda.Page{Count: int64(rows), Marker: p.marker(marker, id, next)},
	}
}

// marker is mostly that of the last row, and else one that leads astray.
func (p *pages) marker(asked, last string, how byte) string {
	switch how {
	case 1:
		return asked
	case 2:
		return ""
	case 3:
		return iotda.FirstMarker + "f"
	case 4:
		return p.markers[0]
	case 5:
		return "0" + asked // it falls, and grows, for ever
	case 6:
		return strings.TrimLeft(asked, "f")
	case 7:
		return "a/../?marker=b&\x00"
	}
	return last
}

func addScripts(f *testing.F) {
	full := func(next, total byte) []byte { return []byte{255, 0, next, total} }
	repeat := func(page []byte, n int) (script []byte) {
		for i := range n {
			page[1] = byte(i)
			script = append(script, page...)
		}
		return script
	}
	f.Add([]byte{})
	f.Add([]byte{10, 0, 0, 1})
	f.Add(append(repeat(full(0, 3), 3), 7, 0, 0, 3))
	f.Add(append(repeat(full(0, 255), 33), 7, 0, 0, 3))
	f.Add([]byte{255, 200, 0, 40, 255, 0, 2, 40, 255, 0, 0, 40}) // the middle one says nothing, and the last is not the lowest
	for how := range byte(8) {
		f.Add(repeat(full(how, 4), 26))
		f.Add(append(repeat(full(0, 40), 11), full(how, 17)...))
		f.Add(append(repeat(full(0, 40), 5), append([]byte{12, 0, how, 40}, repeat(full(how, 40), 20)...)...))
	}
}

func FuzzAListEndsAndFollowsOnlyMarkersThatFall(f *testing.F) {
	addScripts(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		p := &pages{script: script}
		c := fuzzed(t, aKey(), p.reply)
		rows := 0
		_, err := c.EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(iotda.Task) error { rows++; return nil })
		ended(t, p, err)
		require.Less(t, rows, 60*p.calls+1)
		if err == nil {
			require.LessOrEqual(t, p.calls, rows/iotda.MaxPageSize+1, "no page is read for nothing")
		}
		p = &pages{script: script}
		c = fuzzed(t, aKey(), p.reply)
		for marker := ""; ; {
			_, next, _, err := c.Devices(t.Context(), marker)
			if err != nil || next == "" {
				ended(t, p, err)
				break
			}
			marker = next
		}
	})
}

func FuzzAWaveHasEachRowOnceAndTheNextIsFurtherDown(f *testing.F) {
	addScripts(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		p := &pages{script: script}
		c := fuzzed(t, aKey(), p.reply)
		for marker := ""; ; {
			before := p.calls
			w, err := c.Wave(t.Context(), "ab", iotdaclient.Query{Status: iotda.SubtaskFail}, iotdaclient.From{Marker: marker}, iotdaclient.MaxWavePages)
			require.LessOrEqual(t, p.calls-before, iotdaclient.MaxWavePages)
			if err != nil {
				ended(t, p, err)
				return
			}
			seen := map[string]bool{}
			for _, s := range w.Subtasks {
				require.False(t, seen[s.Target], "%s is in the wave twice", s.Target)
				seen[s.Target] = true
			}
			if w.End {
				ended(t, p, nil)
				return
			}
			require.NotEmpty(t, w.Subtasks)
			require.True(t, w.Next != "" && (marker == "" || w.Next < marker))
			for _, lowest := range p.lowest(p.calls - before) {
				require.GreaterOrEqual(t, lowest, w.Next, "it is not the lowest")
			}
			marker = w.Next
		}
	})
}

// lowest gives the markers of the last wave's pages with anything on them.
func (p *pages) lowest(n int) (markers []string) {
	wave := len(p.markers) - 1
	for i := range n {
		page := p.page(p.markers[wave], wave*iotdaclient.MaxWavePages+i)
		if len(page["batchtasks"].([]iotda.Task)) > 0 {
			markers = append(markers, page["page"].(iotda.Page).Marker)
		}
	}
	return markers
}

// ended looks at why a list ended: at its end, or at a marker that leads nowhere.
func ended(t *testing.T, p *pages, err error) {
	require.LessOrEqual(t, p.calls, maxCalls)
	if err != nil {
		refused(t, err)
		require.True(t, errors.Is(err, iotdaclient.ErrMarker), "%v", err)
	}
	for i := range p.markers {
		require.True(t, i < 2 && p.markers[0] == "" || i == 0 || p.markers[i] < p.markers[i-1], "%q", p.markers)
	}
}
