//go:build lab

package mariadb_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
)

// TestWhoHoldsALockIsNamed has an operator's session forget each kind of lock on a replica, whose
// applier waits for it.
func TestWhoHoldsALockIsNamed(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA:     mariadbtest.SameCA(primary),
			Config: "plugin_load_add=metadata_lock_info\ninnodb_lock_wait_timeout=3600"}, password)
		applied(t, primary, replica)
		if got := status(t, replica).Holders; got != "" {
			t.Errorf("nothing is locked: %s", got)
		}
		for _, lock := range []struct{ statement, says string }{
			{"FLUSH TABLES WITH READ LOCK", "a lock is held by "},
			{"BACKUP STAGE START; BACKUP STAGE FLUSH; BACKUP STAGE BLOCK_DDL; " +
				"BACKUP STAGE BLOCK_COMMIT", "a lock is held by "},
			{"LOCK TABLES shop.t WRITE", "a lock is held by "},
			{"BEGIN; UPDATE shop.t SET a = -1 WHERE id = 1", "a row is held by "},
		} {
			conn, err := replica.DB.Conn(t.Context())
			must(t, err)
			_, err = conn.ExecContext(t.Context(), "SET sql_log_bin = 0; "+lock.statement)
			must(t, err)
			var id int
			must(t, conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id))
			primary.Exec("UPDATE shop.t SET a = a + 1 WHERE id = 1")
			want := fmt.Sprintf("%ssession %d of \"root\"@\"localhost\" (idle since ", lock.says,
				id)
			ctx, cancel := context.WithTimeout(t.Context(), mariadbtest.Patience)
			got := ""
			// InnoDB shows locks of before for as long as it is asked more often than each 100 ms.
			poll := time.NewTicker(200 * time.Millisecond)
			for !strings.HasPrefix(got, want) && ctx.Err() == nil {
				<-poll.C
				got = status(t, replica).Holders
			}
			poll.Stop()
			cancel()
			if !strings.HasPrefix(got, want) || strings.Contains(got, "system user") {
				t.Errorf("%s: %q, not %q", lock.statement, got, want)
			}
			replica.Exec(fmt.Sprintf("KILL %d", id))
			_ = conn.Close() // it is dead
			applied(t, primary, replica)
		}
	})
}
