package web

import (
	"context"

	"retryd/internal/config"
	"retryd/internal/store"
)

// connections gives each configured connection, in the order of the configuration.
func (s *server) connections(ctx context.Context) ([]Connection, error) {
	k, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	d, err := s.driving(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.allTasks(ctx)
	return k.connectionRows(d, rows), err
}

func (k known) connectionRows(d driving, tasks []store.TaskRow) []Connection {
	open := map[string]int{} // attempts whose outcome is still to come
	for _, t := range tasks {
		open[t.Identity] += t.Open
	}
	return mapped(k.config.Connections, func(c config.Connection) Connection {
		out := k.connection(c)
		out.DrivenBy, out.Open = d.by[c.Identity()], open[c.Identity()]
		return out
	})
}

func (k known) connection(c config.Connection) Connection {
	out := Connection{Name: c.Name, Labels: c.Labels, ProjectID: c.ProjectID, Endpoint: c.Endpoint, State: "unknown"}
	if row, tried := k.connections[c.Identity()]; tried {
		out.State, out.Reason, out.Detail, out.Remedy = "up", row.Reason, row.Detail, row.Remedy
		out.Since, out.Until = moment(row.Since), moment(row.Until)
		if row.Reason != "" {
			out.State = "down"
		}
	}
	if pause := k.pausedBy(store.Scope{Identity: c.Identity()}); pause != nil {
		out.Paused = pause.String()
	}
	return out
}
