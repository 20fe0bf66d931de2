package emulator

import (
	"net/http"
	"net/url"
	"slices"

	"retryd/internal/iotda"
)

// SetOnline says whether a device is connected; those that nobody spoke of are.
func (e *Emulator) SetOnline(device string, online bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.offline == nil {
		e.offline = map[string]bool{}
	}
	e.offline[device] = !online
}

func (e *Emulator) shownDevice(id string) map[string]any {
	status := iotda.DeviceOnline
	if e.offline[id] {
		status = "OFFLINE"
	}
	return map[string]any{"device_id": id, "status": status, "node_type": "GATEWAY"}
}

// devices gives the ids of all devices of all tasks, descending: the platform orders by an
// id of its own, and the order of the names will do for it.
func (e *Emulator) devices() []string {
	seen := map[string]bool{}
	for _, t := range e.tasks {
		for _, s := range t.rows {
			seen[s.ID] = true
		}
	}
	ids := make([]string, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids
}

// listDevices is ListDevices.
func (e *Emulator) listDevices(_ string, query url.Values, _ []byte) (any, *apiError) {
	if bad := only(query, "product_id", "gateway_id", "node_id", "device_name", "app_id", "start_time", "end_time", "limit", "marker", "offset"); bad != nil {
		return nil, bad
	}
	p, bad := paging(query)
	if bad != nil {
		return nil, bad
	}
	ids := e.devices()
	page := iotda.Page{Count: int64(len(ids))}
	from := 0
	if p.marker != iotda.FirstMarker {
		from = e.deviceMarks[p.marker]
	}
	ids = ids[min(from+p.offset, len(ids)):]
	ids = ids[:min(p.limit, len(ids))]
	rows := []any{}
	for _, id := range ids {
		rows = append(rows, e.shownDevice(id))
	}
	if len(ids) > 0 {
		page.Marker = e.deviceMark(from + p.offset + len(ids))
	}
	return map[string]any{"devices": rows, "page": page}, nil
}

// deviceMark gives the marker after so many devices: one that falls.
func (e *Emulator) deviceMark(n int) string {
	const digits = "0123456789abcdef"
	mark := []byte("eeeeeeeeeeeeeeeeeeeeeeee")
	for i, left := len(mark)-1, 0xffffffff-n; left > 0 && i > 12; i-- {
		mark[i] = digits[left%16]
		left /= 16
	}
	if e.deviceMarks == nil {
		e.deviceMarks = map[string]int{}
	}
	e.deviceMarks[string(mark)] = n
	return string(mark)
}

// showDevice is ShowDevice.
func (e *Emulator) showDevice(id string, _ url.Values, _ []byte) (any, *apiError) {
	if !slices.Contains(e.devices(), id) {
		return nil, &apiError{http.StatusNotFound, "IOTDA.014000", "The device does not exist"}
	}
	return e.shownDevice(id), nil
}

// listApps is ShowApplications.
func (e *Emulator) listApps(_ string, query url.Values, _ []byte) (any, *apiError) {
	if bad := only(query, "default_app"); bad != nil {
		return nil, bad
	}
	rows := []any{}
	for _, app := range e.o.Apps {
		rows = append(rows, map[string]any{"app_id": app.ID, "app_name": app.Name, "create_time": "20250101T000000Z", "default_app": false})
	}
	return map[string]any{"applications": rows}, nil
}
