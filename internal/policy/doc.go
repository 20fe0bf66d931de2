// Package policy is the pure core of retryd: what a policy says, and what follows
// from it for one target at one moment.
//
// Everything here is a value or a function of values. Time comes in as an argument and
// goes out as an instant (Verdict.NotBefore); nothing reads a clock, a file or the
// network, so `plan`, `sweep` and the tests cannot disagree about a decision.
//
//	policy + task + sub-task + record + now  ->  Decide  ->  Verdict{reason, detail, not before}
//	open attempt + observation               ->  Observe ->  the attempt's next state
package policy
