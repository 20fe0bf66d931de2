// Package torture holds the promises of the design against a hostile world: the real binary as a
// child process, against the emulator, with a real ledger, is killed at any moment, again and
// again. What the platform recorded and what the ledger says are then held against each other by
// rules that share no code with retryd.
//
//	go test ./torture                           a short run
//	make torture                                the long one, with its figures
//	go test -v ./torture -cycles 500 -seed 7    the same random choices again
//
// There are test files only: platform_test.go and world_test.go are the other side,
// process_test.go is the program, ledger_test.go and rules_test.go judge, and each other file is
// a proof.
package torture
