// Package store is the ledger: the durable record from which every promise about the
// number of attempts is kept.
//
// An attempt is claimed, which writes it to disk, before its request leaves; what the
// platform answered and what was observed later is written onto the same row. A crash at
// any moment therefore leaves either no attempt, or one whose outcome is not known, and
// what is not known counts.
//
// Rows are keyed by project, task and device. Names of connections and policies are
// labels on them: renaming one changes no count.
package store
