package torture

import (
	"database/sql"
	"fmt"
	"strings"
)

// isNew is what the program says of a ledger that it has made.
const isNew = "the ledger is new: "

// saidOnce holds that it is on record once that the ledger is new, and that it was said: once more
// by each start that was killed between saying that and writing it down.
func (p *proof) saidOnce(how map[string]int) {
	said := 0
	for _, d := range p.made {
		said += strings.Count(d.out.all(), isNew)
	}
	announced, actions := p.ledger.announced()
	if !announced || actions != 1 {
		p.broken("the making of a ledger is on record once", fmt.Sprintf("announced: %t, and %d actions", announced, actions), nil)
	}
	if said == 0 {
		p.broken("it is said that the ledger is new", "nobody does", nil)
	}
	how["between log line and record"] += max(0, said-1)
}

// greets holds what a start said of a new ledger against what the ledger has on record before and
// after it.
func (p *proof) greets(d *daemon, before bool) {
	p.made = append(p.made, d)
	after, actions := p.ledger.announced()
	said := strings.Contains(d.out.all(), isNew)
	unsaid := after && !before && !said
	if p.old {
		unsaid = said // it is not new
		actions++     // which another program has written, elsewhere
	}
	if unsaid || said && before || before && !after || after && actions != 1 || !p.old && !after && actions > 0 {
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
