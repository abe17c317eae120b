// Package mariadbtest runs real MariaDB servers for tests (build tag lab): in directories of their
// own, on unix sockets and loopback, with the programs of the host images, which stay untouched.
package mariadbtest
