// Package web is retryd's HTTP API and its page: what the ledger and the configuration say of
// what happens, and what people do about it.
//
// The running daemon serves it, and a command without a daemon serves it to itself on the same
// ledger: so an answer is the same with and without a daemon.
package web
