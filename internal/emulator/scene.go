package emulator

import (
	"fmt"
	"time"

	"retryd/internal/iotda"
)

// Scene is a failing fleet, and which of its devices play which part.
type Scene struct {
	Firmware, Software, Older string // ids of tasks
	Never                     string // fails however often it is tried
	Permanent                 string // fails for a reason that no retry mends
	Superseded                string // in Older and in Firmware
	Failing                   int    // sub-tasks that are failed at first and that a retry helps
}

// reasons are what devices fail with that a retry can help [doc iot_faq_01001].
var reasons = []string{
	"Waiting for the device online timeout", "Connection lost during downloading process", "Device Abnormal is not online",
	"Waiting for device downloaded package timeout", "Task Conflict",
}

// AddScene adds a firmware and a software campaign of some devices each, a third of
// which failed, and beside them what must not be touched: an older campaign over the
// same devices, a stopped task, and a task of a type that cannot be retried.
func (e *Emulator) AddScene(devices int, now time.Time) (Scene, error) {
	var s Scene
	firmware := s.campaign("lamp", devices)
	software := s.campaign("meter", devices)
	s.Never, s.Permanent, s.Superseded = firmware[0].ID, software[0].ID, firmware[3].ID
	firmware[0].Fate = Fate{Message: "Firmware update failed"}
	software[0].Fate = Fate{Message: "Unsupported package type"}
	s.Failing -= 2
	older := []Device{{ID: s.Superseded, Status: iotda.SubtaskFail, Fate: Fate{RecoverAt: 1, Message: reasons[0]}}}
	stopped := []Device{{ID: "valve-0001", Status: iotda.SubtaskFail, Fate: Fate{RecoverAt: 1, Message: reasons[1]}}}
	for _, t := range []struct {
		id   *string
		task Task
	}{
		{&s.Older, Task{Name: "fw-2.0", Type: iotda.FirmwareUpgrade, Created: now.Add(-9 * 24 * time.Hour), Devices: older}},
		{new(string), Task{Name: "fw-1.9", Type: iotda.FirmwareUpgrade, Status: iotda.TaskStopped, Created: now.Add(-8 * 24 * time.Hour), Devices: stopped}},
		{&s.Firmware, Task{Name: "fw-2.1", Type: iotda.FirmwareUpgrade, Created: now.Add(-24 * time.Hour), Devices: firmware}},
		{&s.Software, Task{Name: "agent-5.4", Type: iotda.SoftwareUpgrade, Created: now.Add(-20 * time.Hour), Devices: software}},
		{new(string), Task{Name: "modules", Type: "moduleUpgrade", Created: now.Add(-time.Hour), Devices: stopped}},
	} {
		id, err := e.AddTask(t.task)
		if err != nil {
			return Scene{}, err
		}
		*t.id = id
	}
	return s, nil
}

// campaign makes devices of which every third failed: most recover at the first retry,
// some at the second or third.
func (s *Scene) campaign(name string, n int) []Device {
	devices := make([]Device, n)
	for i := range devices {
		devices[i] = Device{ID: fmt.Sprintf("%s-%04d", name, i+1), Status: iotda.SubtaskSuccess}
		if i%3 == 0 {
			failed := i / 3
			devices[i].Status = iotda.SubtaskFail
			devices[i].Fate = Fate{RecoverAt: 1 + failed%5/3 + failed%10/9, Message: reasons[failed%len(reasons)]}
			s.Failing++
		}
	}
	return devices
}
