package store

import "database/sql"

// ReadFrom has a ledger read from another handle of the same database, which it closes in the end.
func ReadFrom(s *Store, from *sql.DB) (err error) {
	if s.read.DB != s.write.DB { // as with SQLite
		err = s.read.Close()
	}
	s.read = wrap(from, s.read.d)
	return err
}
