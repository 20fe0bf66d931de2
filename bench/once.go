package main

import "fmt"

// sweepOnce makes a platform, has retryd sweep it once with a new ledger, and checks what it did.
func (w *workshop) sweepOnce(a *app, name string, f fleet, s setting) (u usage, r record, err error) {
	p, err := startPlatform(a.ctx, f)
	if err != nil {
		return u, r, err
	}
	defer p.stop()
	s.address = p.address
	file, err := w.configure(name, s)
	if err != nil {
		return u, r, err
	}
	if u, err = w.sweep(a.ctx, file, "--new-ledger"); err != nil {
		return u, r, err
	}
	if r, err = p.record(a.ctx); err != nil {
		return u, r, err
	}
	if err := complete(r, f.Failing*f.Projects); err != nil {
		return u, r, fmt.Errorf("%w\n%s", err, u.Out)
	}
	return u, r, nil
}
