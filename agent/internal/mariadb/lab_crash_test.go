//go:build lab

package mariadb_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/marks"
	"github.com/understudy-db/understudy/agent/internal/systemd"
)

// TestACrashOfAReplicaWithOtherTables has a replica killed that had written to tables without
// transactions, and one with a table that it had not written to.
func TestACrashOfAReplicaWithOtherTables(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		primary.Exec("CREATE TABLE shop.still (id INT) ENGINE=MyISAM",
			"CREATE TABLE shop.a (id INT) ENGINE=Aria TRANSACTIONAL=0",
			"CREATE TABLE shop.c (id INT NOT NULL) ENGINE=CSV")
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)}, password)
		k := marks.New(marks.Config{File: filepath.Join(t.TempDir(), "marks.json"),
			Written: replica.Server.Written, Log: slog.New(slog.DiscardHandler),
			Follow: func(ctx context.Context, _ systemd.From,
				each func(systemd.Entry) error) error {
				return followed(ctx, filepath.Join(replica.Dir, "error.log"), each)
			}})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		must(t, k.Begin()) // as the call does that prepares a copy
		go k.Run(ctx)
		replica.Stop()
		rests(t, filepath.Join(replica.Datadir, "shop"), "still")
		replica.Run()
		replica.Exec("START SLAVE")
		primary.Exec("INSERT INTO shop.m (a) VALUES (1)", "INSERT INTO shop.a VALUES (1)",
			"INSERT INTO shop.t (a) VALUES (1)")
		applied(t, primary, replica)
		replica.Kill()
		replica.Run()
		for end := time.Now().Add(mariadbtest.Patience); ; time.Sleep(20 * time.Millisecond) {
			all := k.Observe(marks.Sample{}).Marks
			if len(all) == 0 && time.Now().Before(end) {
				continue
			}
			if len(all) != 1 || all[0].Kind != "crash" {
				t.Fatalf("noted %+v\n%s", all, replica.ErrorLog())
			}
			text := all[0].Text
			for table, is := range map[string]bool{"shop.m": true, "shop.a": true, "shop.c": true,
				"shop.still": false, "shop.t": false} {
				if strings.Contains(text+",", table+",") != is {
					t.Errorf("%s: %s", table, text)
				}
			}
			return
		}
	})
}

// rests has the files of a table as old as those of one that nobody writes to.
func rests(t *testing.T, schema, table string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(schema, table+".*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	for _, file := range files {
		must(t, os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)))
	}
}
