// Package torture holds the promises of the design against a hostile world: the real binary as a
// child process, against the emulator, with a real ledger, is killed at any moment, again and
// again. What the platform recorded and what the ledger says are then held against each other by
// rules that share no code with retryd.
//
//	go test ./torture                           a short run
//	make torture                                the long one, with its figures
//	make mutants                                each guard taken out, to see that a proof fails
//	go test -v ./torture -cycles 500 -seed 7    the same random choices again
//
// There are test files only. The other side: platform_test.go, world_test.go. The program and its
// way to the database: process_test.go, config_test.go, cable_test.go. What judges: ledger_test.go,
// rules_test.go, reign_test.go and rest_test.go, which broken_test.go holds to account. Each other
// file is a proof, or what happens in one (events_test.go).
package torture
