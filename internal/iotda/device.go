package iotda

// App is a resource space, as ShowApplications gives it [sdk].
type App struct {
	ID   string `json:"app_id"`
	Name string `json:"app_name"`
}

// Device is a device as ListDevices and ShowDevice give it, as far as it matters here [sdk].
type Device struct {
	ID     string `json:"device_id"`
	Status string `json:"status"`
}

// DeviceOnline is the status of a device that is connected; the others are OFFLINE,
// ABNORMAL, INACTIVE and FROZEN [sdk].
const DeviceOnline = "ONLINE"
