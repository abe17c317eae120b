package mariadb

import (
	"context"
	"fmt"
	"strings"
)

// applying are the sessions that apply changes of a primary.
const applying = "command IN ('Slave_SQL', 'Slave_worker')"

// idleSince is for how many seconds a session does nothing else before it is suspected. One of the
// agent's own is closed before.
const idleSince = "60"

// holders says which sessions keep an applier waiting for a lock; empty when none waits. MariaDB
// tells who holds a row, and the plugin metadata_lock_info who holds other locks. Without it those
// are named that do the same thing for the longest time.
func holders(ctx context.Context, q querier) (string, error) {
	rows, err := query(ctx, q, "SELECT DISTINCT p.id, p.user, p.host, p.command, "+since+
		" FROM information_schema.innodb_lock_waits w "+
		"JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_trx_id "+
		"JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id "+
		"JOIN information_schema.processlist p ON p.id = b.trx_mysql_thread_id "+
		"WHERE p."+others+" AND r.trx_mysql_thread_id IN "+
		"(SELECT id FROM information_schema.processlist WHERE "+applying+") "+longest)
	if err != nil || len(rows) > 0 {
		return sessions("a row is held by ", rows), err
	}
	waits, err := one(ctx, q, "SELECT state FROM information_schema.processlist WHERE "+applying+
		" AND state LIKE 'Waiting for % lock' LIMIT 1")
	if err != nil || len(waits) == 0 {
		return "", err
	}
	plugin, err := one(ctx, q, "SELECT 1 AS known FROM information_schema.plugins WHERE "+
		"plugin_name = 'METADATA_LOCK_INFO' AND plugin_status = 'ACTIVE'")
	if err != nil {
		return "", err
	}
	is, suspects := "a lock may be held by ", "p.time >= "+idleSince
	if len(plugin) > 0 {
		is, suspects = "a lock is held by ",
			"p.id IN (SELECT thread_id FROM information_schema.metadata_lock_info)"
	}
	rows, err = query(ctx, q, "SELECT p.id, p.user, p.host, p.command, "+since+
		" FROM information_schema.processlist p WHERE p."+others+" AND "+suspects+" "+longest)
	return sessions(is, rows), err
}

const (
	since = "DATE_FORMAT(NOW() - INTERVAL p.time SECOND, '%Y-%m-%d %H:%i') AS since"
	// others are sessions of users, but the one that asks.
	others = "user <> 'system user' AND p.id <> CONNECTION_ID() AND p.command NOT IN " +
		"('Daemon', 'Binlog Dump')"
	longest = "ORDER BY p.time DESC, p.id LIMIT 3"
)

// sessions names them.
func sessions(is string, rows []row) string {
	var all []string
	for _, r := range rows {
		does := "works"
		if r["command"] == "Sleep" {
			does = "idle"
		}
		host, _, _ := strings.Cut(r["host"], ":")
		all = append(all, fmt.Sprintf("session %s of %.80q@%.80q (%s since %s UTC)", r["id"],
			r["user"], host, does, r["since"]))
	}
	if len(all) == 0 {
		return ""
	}
	return bounded(is + strings.Join(all, ", or "))
}
