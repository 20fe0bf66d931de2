// Package notify tells people what has happened. The ledger has a notice of each thing, written in
// the transaction of the thing itself; this sends them, a digest at a time, to receivers that a
// configuration names.
//
// A digest is begun in the ledger before it is sent, and has an id by which a receiver knows one
// that comes twice: what is told is told at least once, through crashes of either side, for a day.
// After that it is dropped, and counted.
package notify
