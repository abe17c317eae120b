// Package mariadbtest runs real MariaDB servers for tests (build tag lab): in directories of their own, on unix sockets and loopback.
// The versions come from root directories: UNDERSTUDY_MARIADB_ROOTS names them with colons between, and the host's own is the
// default.
package mariadbtest
