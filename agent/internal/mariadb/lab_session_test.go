//go:build lab

package mariadb_test

import (
	"slices"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Sessions of the agent work the same under every global default that an operator can set.
func TestSessionsDependOnNoGlobalDefault(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		healthy := checksums(t, i)
		i.Exec("SET GLOBAL autocommit = 0", "SET GLOBAL completion_type = 2",
			"SET GLOBAL tx_read_only = 1", "SET GLOBAL tx_isolation = 'READ-UNCOMMITTED'",
			"SET GLOBAL sql_mode = 'ORACLE,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
			"SET GLOBAL sql_select_limit = 1", "SET GLOBAL max_join_size = 1",
			"SET GLOBAL sql_big_selects = 0", "SET GLOBAL sql_safe_updates = 1",
			"SET GLOBAL sql_quote_show_create = 0", "SET GLOBAL max_statement_time = 0.000001",
			"SET GLOBAL wait_timeout = 1", "SET GLOBAL idle_transaction_timeout = 1",
			"SET GLOBAL lock_wait_timeout = 0", "SET GLOBAL innodb_lock_wait_timeout = 1",
			"SET GLOBAL binlog_format = STATEMENT", "SET GLOBAL binlog_row_image = MINIMAL",
			"SET GLOBAL character_set_client = latin1",
			"SET GLOBAL collation_connection = latin1_bin",
			"SET GLOBAL net_write_timeout = 1",
			"SET GLOBAL time_zone = '+05:00'")
		i.Reopen()
		before := i.Value("SELECT @@global.gtid_binlog_pos")
		_, at, err := i.Server.ProveWritable(t.Context())
		if err != nil || at == "" {
			t.Fatalf("%q %v", at, err)
		}
		if mariadbtest.Position(t, before).Contains(mariadbtest.Position(t, at)) {
			t.Errorf("the write %s is not past %s", at, before)
		}
		if got := checksums(t, i); !slices.Equal(got, healthy) {
			t.Errorf("checksums: %v, without these defaults %v", got, healthy)
		}
		if status, err := i.Status(t.Context()); err != nil || !status.Answers ||
			len(status.Live.NonTransactional) != 1 {
			t.Errorf("%+v %v", status.Live, err)
		}
	})
}

// What the binary log leaves out proves nothing, though the row is there.
func TestAWriteThatIsNotLoggedProvesNothing(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		for _, filter := range []string{"binlog_do_db=shop", "binlog_ignore_db=understudy"} {
			i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
				Config: "log_bin=mariadb-bin\n" + filter})
			_, at, err := i.Server.ProveWritable(t.Context())
			if errs.ReasonOf(err) != errorsv1.Reason_REASON_MARIADB_SETTING {
				t.Errorf("%s: %q %v", filter, at, err)
			}
		}
	})
}

func checksums(t *testing.T, i *mariadbtest.Instance) (sums []mariadb.TableChecksum) {
	t.Helper()
	err := i.Server.Checksums(t.Context(), mariadb.ChecksumPlan{},
		func(mariadb.ChecksumHead) error { return nil },
		func(sum mariadb.TableChecksum) error {
			if sum.Table != "understudy.probe" {
				sums = append(sums, sum)
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}
