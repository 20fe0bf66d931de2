// Package scheduler does the work: it waits for ticks, sweeps connections, and observes
// what became of attempts.
//
//	tick -> list tasks -> observe open attempts -> read failed sub-tasks, wave by wave
//	     -> decide -> claim -> retry -> settle
//
// A policy is due on a connection while its last finished tick is older than the latest
// tick of its schedule. Nothing is remembered but in the ledger, so a crash, a missed
// tick and a restart are one case.
package scheduler
