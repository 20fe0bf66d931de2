package iotdaclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"retryd/internal/iotda"
)

// Apps reads the resource spaces of the instance: there are at most 10 [doc iot_04_0010], on
// one page.
func (c *Client) Apps(ctx context.Context) ([]iotda.App, error) {
	var reply struct {
		Apps *rows[iotda.App] `json:"applications"`
	}
	if _, err := c.read(ctx, call{op: opApps, method: http.MethodGet, path: c.root() + "/apps"}, &reply); err != nil {
		return nil, err
	}
	if reply.Apps == nil {
		return nil, c.fail(opApps, &Error{Class: iotda.ClassBroken, Status: http.StatusOK, Message: `the reply has no "applications"`})
	}
	return *reply.Apps, nil
}

// Device reads one device. begun is the start of the request.
func (c *Client) Device(ctx context.Context, id string) (d iotda.Device, begun time.Time, err error) {
	begun, err = c.read(ctx, call{op: opDevice, method: http.MethodGet, path: c.root() + "/devices/" + url.PathEscape(id)}, &d)
	return d, begun, err
}

// Devices reads one page of the instance's devices: those with an id lower than marker, which
// is empty for the first page. total is how many there are in all.
func (c *Client) Devices(ctx context.Context, marker string) (devices []iotda.Device, next string, total int64, err error) {
	var reply struct {
		Devices *rows[iotda.Device] `json:"devices"`
		Page    iotda.Page          `json:"page"`
	}
	query := map[string]string{"limit": strconv.Itoa(iotda.MaxPageSize)}
	if marker != "" {
		query["marker"] = marker
	}
	if _, err := c.read(ctx, call{op: opDevices, method: http.MethodGet, path: c.root() + "/devices", query: query}, &reply); err != nil {
		return nil, "", 0, err
	}
	if reply.Devices == nil {
		return nil, "", 0, c.fail(opDevices, &Error{Class: iotda.ClassBroken, Status: http.StatusOK, Message: `the reply has no "devices"`})
	}
	if len(*reply.Devices) < iotda.MaxPageSize {
		return *reply.Devices, "", reply.Page.Count, nil
	}
	if marker == "" {
		marker = iotda.FirstMarker
	}
	next, err = c.following(opDevices, marker, reply.Page.Marker)
	return *reply.Devices, next, reply.Page.Count, err
}
