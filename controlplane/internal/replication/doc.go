// Package replication decides about what was observed of MariaDB: plain types and pure functions,
// no I/O. It knows whether a copy came up at the position that its snapshot was taken at, what a
// stopped replication thread means, how far a replica is, and whether it may be called one.
package replication
