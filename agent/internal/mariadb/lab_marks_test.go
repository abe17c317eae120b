//go:build lab

package mariadb_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/marks"
	"github.com/understudy-db/understudy/agent/internal/systemd"
)

// followed hands over the lines of a file, as a journal does those of a unit.
func followed(ctx context.Context, path string, each func(systemd.Entry) error) error {
	var read int64
	run, all := "", each
	each = func(e systemd.Entry) error {
		if strings.Contains(e.Message, " as process ") {
			run = e.Message
		}
		e.InvocationID = run
		return all(e)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var err error
		if read, err = behind(path, read, each); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// behind hands over the whole lines behind an offset, and answers with the offset of the next one.
func behind(path string, read int64, each func(systemd.Entry) error) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return read, err
	}
	defer file.Close()
	if _, err := file.Seek(read, 0); err != nil {
		return read, err
	}
	for lines := bufio.NewReader(file); ; {
		text, err := lines.ReadString('\n')
		if err != nil {
			return read, nil // of a line that is not whole it is too early
		}
		read += int64(len(text))
		if err := each(systemd.Entry{Message: strings.TrimSuffix(text, "\n"), Time: time.Now(),
			Cursor: fmt.Sprint(read)}); err != nil {
			return read, err
		}
	}
}

// TestMarksOfAReplica has replication stopped, started and killed, which leaves nothing out, and
// then all that does, by what MariaDB logs of it.
func TestMarksOfAReplica(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)}, password)
		k := marks.New(marks.Config{File: filepath.Join(t.TempDir(), "marks.json"),
			Log: slog.New(slog.DiscardHandler), Follow: func(ctx context.Context, _ systemd.From,
				each func(systemd.Entry) error) error {
				return followed(ctx, filepath.Join(replica.Dir, "error.log"), each)
			}})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go k.Run(ctx)
		writes := func() {
			primary.Exec("INSERT INTO shop.t (a) VALUES (1)")
		}
		reaches := func(when string) {
			t.Helper()
			position := primary.Value("SELECT @@gtid_binlog_pos")
			if got := replica.Value("SELECT MASTER_GTID_WAIT('" + position + "', 60)"); got != "0" {
				t.Fatalf("%s: it does not reach %s\n%s", when, position, replica.ErrorLog())
			}
		}
		var kinds []string
		noted := func(when, kind string) {
			t.Helper()
			if kinds = append(kinds, kind); kind == "" {
				kinds = kinds[:len(kinds)-1]
			}
			end := time.Now().Add(mariadbtest.Patience)
			for {
				var got []string
				for _, m := range k.Observe(marks.Sample{}).Marks {
					got = append(got, m.Kind)
				}
				if slices.Equal(got, kinds) {
					return
				}
				if len(got) > len(kinds) || time.Now().After(end) {
					t.Fatalf("%s: noted %v, want %v\n%s", when, got, kinds, replica.ErrorLog())
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
		replica.Exec("STOP SLAVE", "START SLAVE")
		writes()
		reaches("stopped and started")
		replica.Stop()
		replica.Run()
		replica.Exec("START SLAVE")
		writes()
		reaches("restarted")
		replica.Kill()
		replica.Run()
		replica.Exec("START SLAVE")
		writes()
		reaches("killed")
		noted("nothing was left out", "")
		all, err := replica.Server.Connections(ctx)
		if err != nil || len(all) != 1 || all[0].SQLThread == "" || !strings.Contains(
			replica.ErrorLog(), " "+all[0].SQLThread+" [Note] Slave SQL thread initialized") {
			t.Errorf("%+v %v: the log has no such thread\n%s", all, err, replica.ErrorLog())
		}

		replica.Exec("STOP SLAVE")
		writes()
		replica.Exec("SET GLOBAL sql_slave_skip_counter = 1", "START SLAVE")
		reaches("skipped")
		noted("skipped", "skipped")

		replica.Exec("STOP SLAVE")
		writes()
		replica.Exec("SET GLOBAL gtid_slave_pos = '"+primary.Value("SELECT @@gtid_binlog_pos")+"'",
			"START SLAVE")
		writes()
		reaches("a position that was set")
		noted("a position that was set", "position")

		replica.Exec("SET sql_log_bin = 0; DELETE FROM shop.t WHERE id = 1; SET sql_log_bin = 1",
			"SET GLOBAL slave_exec_mode = IDEMPOTENT")
		primary.Exec("SET binlog_format = ROW; DELETE FROM shop.t WHERE id = 1; " +
			"SET binlog_format = MIXED")
		reaches("idempotent for a moment")
		replica.Exec("SET GLOBAL slave_exec_mode = STRICT")
		noted("idempotent for a moment", "error")

		replica.Exec("SET GLOBAL log_warnings = 0; STOP SLAVE; START SLAVE; STOP SLAVE; "+
			"SET GLOBAL log_warnings = 2", "START SLAVE")
		noted("a start without a line in the log", "start")
	})
}
