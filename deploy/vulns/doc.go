// Package vulns keeps a snapshot of the Go vulnerability database for `make lint`, which runs where
// the database cannot be asked: the entries about the modules of go.mod and about Go itself, in the
// layout that govulncheck reads.
package vulns
