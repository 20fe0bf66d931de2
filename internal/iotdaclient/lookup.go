package iotdaclient

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"retryd/internal/iotda"
)

// Apps reads the resource spaces of the instance: there are at most 10 [doc iot_04_0010], on
// one page.
func (c *Client) Apps(ctx context.Context) ([]iotda.App, error) {
	var apps []iotda.App
	read := func(body io.Reader) error {
		apps = nil
		return fields{"applications": list("applications", &apps, nil)}.read(json.NewDecoder(body))
	}
	if _, err := c.read(ctx, call{op: opApps, method: http.MethodGet, path: c.root() + "/apps"}, read); err != nil {
		return nil, err
	}
	if apps == nil {
		return nil, c.fail(opApps, &Error{Class: iotda.ClassBroken, Status: http.StatusOK, Message: `the reply has no "applications"`})
	}
	return apps, nil
}

// Device reads one device. begun is the start of the request.
func (c *Client) Device(ctx context.Context, id string) (d iotda.Device, begun time.Time, err error) {
	begun, err = c.read(ctx, call{op: opDevice, method: http.MethodGet, path: c.root() + "/devices/" + url.PathEscape(id)}, func(body io.Reader) error {
		d = iotda.Device{}
		return whole(&d)(body)
	})
	return d, begun, err
}

// Devices reads one page of the instance's devices: those with an id lower than marker, which
// is empty for the first page. total is how many there are in all.
func (c *Client) Devices(ctx context.Context, marker string) (devices []iotda.Device, next string, total int64, err error) {
	var page iotda.Page
	read := func(body io.Reader) error {
		devices, page = nil, iotda.Page{}
		return fields{"devices": list("devices", &devices, nil), "page": value("page", &page)}.read(json.NewDecoder(body))
	}
	query := map[string]string{"limit": strconv.Itoa(iotda.MaxPageSize)}
	if marker != "" {
		query["marker"] = marker
	}
	if _, err := c.read(ctx, call{op: opDevices, method: http.MethodGet, path: c.root() + "/devices", query: query}, read); err != nil {
		return nil, "", 0, err
	}
	if devices == nil {
		return nil, "", 0, c.fail(opDevices, &Error{Class: iotda.ClassBroken, Status: http.StatusOK, Message: `the reply has no "devices"`})
	}
	if len(devices) < iotda.MaxPageSize {
		return devices, "", page.Count, nil
	}
	if marker == "" {
		marker = iotda.FirstMarker
	}
	next, err = c.following(opDevices, marker, page.Marker)
	return devices, next, page.Count, err
}
