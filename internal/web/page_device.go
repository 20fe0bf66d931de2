package web

// devicePage is all about one device: why it waits, what was tried, and what people did.
type devicePage struct {
	Device string
	Task   string
	Explanation
}

func (p *pages) device(v *view) error {
	q := v.params(p)
	device, task := trimmed(q.text("device")), q.text("task")
	if err := q.check(); err != nil {
		return err
	}
	body := devicePage{Device: device, Task: task}
	if device == "" {
		return v.put("device", "Devices", "/devices", body)
	}
	if err := fromElsewhere(v.request); err != nil {
		return err
	}
	v.Every = 60 // it costs calls to the platform
	var err error
	if body.Explanation, err = p.explain(v.ctx(), device, task); err != nil {
		return err
	}
	return v.put("device", device, "/devices", body)
}
