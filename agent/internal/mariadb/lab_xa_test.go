//go:build lab

package mariadb_test

import (
	"database/sql/driver"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
)

// TestXATransactionsOfBeforeTheCopy has transactions that were prepared before the snapshot, and
// are committed or rolled back later: the copy has them half done, and does what its primary did.
func TestXATransactionsOfBeforeTheCopy(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		for _, xid := range []string{"'kept'", "'undone'"} {
			conn, err := primary.DB.Conn(t.Context())
			must(t, err)
			for _, statement := range []string{"XA START " + xid,
				"INSERT INTO shop.t (b) VALUES (" + xid + ")", "XA END " + xid,
				"XA PREPARE " + xid} {
				if _, err := conn.ExecContext(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
			conn.Close()
		}
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)}, password)
		xa := func(statement string) {
			t.Helper()
			for end := time.Now().Add(mariadbtest.Patience); ; time.Sleep(20 * time.Millisecond) {
				_, err := primary.DB.ExecContext(t.Context(), statement)
				if err == nil {
					return
				}
				if time.Now().After(end) { // the session that prepared it ends a moment later
					t.Fatalf("%s: %v", statement, err)
				}
			}
		}
		xa("XA COMMIT 'kept'")
		xa("XA ROLLBACK 'undone'")
		applied(t, primary, replica)
		const rows = "SELECT GROUP_CONCAT(b) FROM shop.t WHERE b IN ('kept', 'undone')"
		if its, wanted := replica.Value(rows), primary.Value(rows); its != wanted ||
			wanted != "kept" {
			t.Errorf("it has %q, its primary %q\n%s", its, wanted, replica.ErrorLog())
		}
	})
}
