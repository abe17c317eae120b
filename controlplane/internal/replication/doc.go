// Package replication decides about what was observed of MariaDB: plain types and pure functions, no I/O.
package replication
