package web

import (
	"strconv"
	"time"

	"retryd/internal/store"
)

// recoveryPage is what came of retries in a time.
type recoveryPage struct {
	Recovery
	Days    int
	Choices []int
	Over    chart
	Needs   chart
}

func (p *pages) recovered(v *view) error {
	q := v.params(p)
	text := q.oneOf("days", "1", "2", "7", "30", "90")
	if err := q.check(); err != nil {
		return err
	}
	days, err := strconv.Atoi(text)
	if err != nil { // none is named
		days = 7
	}
	body := recoveryPage{Days: days, Choices: []int{1, 2, 7, 30, 90}}
	if body.Recovery, err = p.recovery(v.ctx(), v.Now.Add(-time.Duration(days)*24*time.Hour)); err != nil {
		return err
	}
	body.Over, body.Needs = recoveryChart(body.Recovery, v.Now), neededChart(body.Needed)
	return v.put("recovery", "Recovery", "/recovery", body)
}

// Lost is how many targets were given up, by why.
func (r recoveryPage) Lost() map[string]int {
	lost := map[string]int{}
	for _, end := range store.GivenUp() {
		lost[end] = r.Ends[end]
	}
	return lost
}

// GivenUp is how many that are.
func (r recoveryPage) GivenUp() int { return lostOf(r.Ends) }
