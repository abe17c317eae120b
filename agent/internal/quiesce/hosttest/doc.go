// Package hosttest proves sessions and reservations on a real host: its own systemd, its own
// mariadb.service, the agent's own program (build tag lab).
package hosttest
