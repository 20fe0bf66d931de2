package torture

import (
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// reign is a time in which one replica may drive, or nobody: it lasts until the next one.
type reign struct {
	from   time.Time
	token  int64
	key    string // access key of the replica; empty = nobody
	robbed bool   // the lease was taken away before its end: the one before learns it as it renews
}

// strangers looks for retry calls by a replica whose lease has passed to another, or was given
// back. A third of a lease lies between the last moment to send something and its end, so there is
// no excuse for a call that was on its way.
func (e *evidence) strangers() (broken []string) {
	for _, p := range e.posts {
		i := len(e.reigns) - 1
		for i >= 0 && e.reigns[i].from.After(p.at) {
			i--
		}
		if len(e.reigns) == 0 || i >= 0 && e.reigns[i].key == p.key {
			continue
		}
		if i > 0 && e.reigns[i].robbed && e.reigns[i-1].key == p.key && p.at.Before(e.reigns[i].from.Add(ttl)) {
			continue
		}
		why := "nobody had any"
		if i >= 0 {
			why = fmt.Sprintf("lease %d is of %q since %s", e.reigns[i].token, e.reigns[i].key, clock(e.reigns[i].from))
		}
		broken = append(broken, fmt.Sprintf("%s sent a retry at %s: %s", p.key, clock(p.at), why))
	}
	return broken
}

// chronicle has the database itself write down each change of the lease.
const chronicle = `
CREATE TABLE reigns (id bigserial, at bigint, token bigint, holder text);
CREATE FUNCTION chronicle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF TG_OP = 'INSERT' OR NEW.token <> OLD.token OR NEW.holder <> OLD.holder THEN
		INSERT INTO reigns (at, token, holder) VALUES ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, NEW.token, NEW.holder);
	END IF;
	RETURN NULL;
END $$;
LOCK TABLE leases;
INSERT INTO reigns (at, token, holder) SELECT acquired_at, token, holder FROM leases;
CREATE TRIGGER chronicle AFTER INSERT OR UPDATE ON leases FOR EACH ROW EXECUTE FUNCTION chronicle();`

// reigned gives what the database has written down.
func (f *fleet) reigned() (reigns []reign) {
	found, err := f.sql.Query(`SELECT at, token, holder FROM reigns ORDER BY id`)
	require.NoError(f.t, err)
	defer found.Close()
	for found.Next() {
		var micros int64
		var r reign
		var holder string
		require.NoError(f.t, found.Scan(&micros, &r.token, &holder))
		r.from, r.robbed = at(micros), holder == thief
		if d := f.named(holder); d != nil {
			r.key = d.key
		}
		reigns = append(reigns, r)
	}
	require.NoError(f.t, found.Err())
	return reigns
}

// thief is in a lease that was taken away instead of the holder.
const thief = "nobody"

// named gives the replica that has an id.
func (f *fleet) named(id string) *daemon {
	for _, d := range f.all {
		if strings.Contains(id, fmt.Sprintf("-%d-", d.cmd.Process.Pid)) {
			return d
		}
	}
	return nil
}
