// Package inventory holds the records of the control plane and the rules they obey: plain types and
// pure functions, no I/O.
//
// Change a record through its rules (Server.BecomeReplica, Server.SetBinlogAutoPurge, …), not by
// setting fields: the rules keep the invariants and answer with an error of package errs that
// has the cause and a hint.
package inventory
