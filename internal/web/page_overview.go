package web

import (
	"cmp"
	"slices"
)

// overviewRows is how many rows of a table the overview has: the rest is one link away.
const overviewRows = 25

// overview is the first page: what is wrong and what to do about it, and then how all stands.
type overview struct {
	Status
	PolicyRows     policiesBody
	ConnectionRows connectionsBody
	Approvals      []Approval
	Spark          chart
	Recovered      int
	Up             int // connections
}

func (p *pages) overview(v *view) error {
	if err := v.params(p).check(); err != nil {
		return err
	}
	s, err := p.status(v.ctx())
	if err != nil {
		return err
	}
	o := overview{Status: s, Spark: sparkline(s.Recovery, v.Now), Recovered: s.Recovery.Ends["recovered"]}
	if o.Approvals, err = p.approvals(v.ctx()); err != nil {
		return err
	}
	connections := worstFirst(s.Connections)
	for _, c := range connections {
		if c.State == "up" {
			o.Up++
		}
	}
	o.ConnectionRows = connectionsBody{connections[:min(len(connections), overviewRows)], len(connections)}
	policies := slices.Clone(s.Policies)
	slices.SortStableFunc(policies, func(a, b Policy) int { return cmp.Compare(a.calm(), b.calm()) })
	o.PolicyRows = policiesBody{policies[:min(len(policies), overviewRows)], len(policies), "those that need a look first"}
	return v.put("overview", "Overview", "/", o)
}

// calm is less for a policy that somebody should look at sooner.
func (p Policy) calm() int {
	switch {
	case p.Halted != "":
		return 0
	case p.Last != nil && p.Last.Result != "complete":
		return 1
	case p.Paused != "", !p.Driven:
		return 2
	}
	return 3
}
