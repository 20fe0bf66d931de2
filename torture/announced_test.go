package torture

import (
	"database/sql"
	"fmt"
	"strings"
)

// isNew is what the program says of a ledger that it has made.
const isNew = "the ledger is new: "

// saidOnce holds that one start said that the ledger is new, unless it was killed between writing
// that down and saying it.
func (p *proof) saidOnce(how map[string]int) {
	said := 0
	for _, d := range p.made {
		said += strings.Count(d.out.all(), isNew)
	}
	announced, actions := p.ledger.announced()
	switch {
	case !announced, actions != 1:
		p.broken("the making of a ledger is on record once", fmt.Sprintf("announced: %t, and %d actions", announced, actions), nil)
	case said == 0 && p.cutOff:
		how["between record and log line"]++
	case said != 1:
		p.broken("one start says that the ledger is new", fmt.Sprintf("%d do", said), nil)
	}
}

// greets holds what a start said of a new ledger against what the ledger has on record before and
// after it.
func (p *proof) greets(d *daemon, before bool) {
	p.made = append(p.made, d)
	after, actions := p.ledger.announced()
	said := strings.Contains(d.out.all(), isNew)
	p.cutOff = p.cutOff || after && !before && !said
	if said && (before || !after) || before && !after || after != (actions == 1) || actions > 1 {
		p.broken("a ledger is new until that is on record", fmt.Sprintf("on record before: %t, after: %t; actions: %d; it said so: %t", before, after, actions, said), d)
	}
}

// announced tells whether it is on record in a dead ledger that it was new, and how many actions say so.
func (l ledger) announced() (announced bool, actions int) {
	_ = l.copied(func(source string) error {
		db, err := sql.Open(l.driver, source)
		if err != nil {
			return err
		}
		defer db.Close()
		return db.QueryRow(`SELECT (SELECT count(*) FROM meta WHERE key = 'announced'), (SELECT count(*) FROM actions WHERE what = 'create ledger')`).Scan(&announced, &actions)
	})
	return announced, actions
}
