//go:build lab

package mariadb_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// mismatchesOf is the one line of all mismatches of a server that answers.
func mismatchesOf(t *testing.T, i *mariadbtest.Instance) string {
	t.Helper()
	status, err := i.Status(t.Context())
	if err != nil || !status.Answers {
		t.Fatalf("%+v %v", status, err)
	}
	lines := make([]string, 0, len(status.Live.Mismatches))
	for _, m := range status.Live.Mismatches {
		lines = append(lines, m.String())
	}
	return strings.Join(lines, "\n")
}

func TestWhatRunsIsWhatCounts(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		ctx := t.Context()
		i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
		s := i.Settings(7)
		s.TLS, s.ReadOnly, s.SkipReplicaStart, s.Strict = false, true, false, true
		s.Extra = map[string]string{"innodb_buffer_pool_size": "70M", "max_connections": "50"}
		if _, err := i.Configuration.Set(ctx, s); err != nil {
			t.Fatal(err)
		}
		later := filepath.Join(i.Dir, "conf.d/zzz.cnf")
		for _, test := range []struct {
			args          []string
			file, execute string
			want          []string
		}{
			{want: nil},
			{args: []string{"--read-only=0", "--gtid-strict=0", "--skip-log-slave-updates",
				"--skip-slave-start"}, want: []string{
				"gtid_strict_mode is 0 instead of ON (command line of mariadbd: --gtid-strict=0)",
				"log_slave_updates is OFF instead of ON (command line of mariadbd: --skip-log-",
				"read_only is 0 instead of ON (command line of mariadbd: --read-only=0)",
				"skip_slave_start is ON instead of OFF (command line of mariadbd: --skip-slave"}},
			{file: "[mariadbd]\nsync_binlog=0\nskip_networking\n", want: []string{
				"skip_networking is ON instead of OFF (option file " + later + ")",
				"sync_binlog is 0 instead of 1 (option file " + later + ")"}},
			{args: []string{"--silent-startup"}, want: []string{"silent_startup is ON instead of " +
				"OFF (command line of mariadbd: --silent-startup)"}},
			{file: "[mariadbd]\nsilent-startup\n", want: []string{
				"silent_startup is ON instead of OFF (option file " + later + ")"}},
			{execute: "SET GLOBAL gtid_strict_mode=0, read_only=0, max_connections=70",
				want: []string{"gtid_strict_mode is OFF instead of ON (SET GLOBAL since"}},
			// another instance of the host reads nothing of the file
			{args: []string{"--defaults-group-suffix=.other"}, want: []string{
				"server_id is 1 instead of 7 (option file " + i.Config.DefaultsFile + ")"}},
		} {
			if err := os.WriteFile(later, []byte(test.file), 0o644); err != nil {
				t.Fatal(err)
			}
			i.Args = test.args
			i.Run()
			if test.execute != "" {
				i.Exec(test.execute)
			}
			got := mismatchesOf(t, i)
			for _, line := range test.want {
				if !strings.Contains(got, line) {
					t.Errorf("%+v: no %q in\n%s", test, line, got)
				}
			}
			if len(test.want) == 0 && got != "" {
				t.Errorf("%+v:\n%s", test, got)
			}
			i.Stop()
		}
	})
}

// What waiting does not heal is refused at once; too many connections are waited for.
func TestRefusalsThatNoWaitHeals(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		ctx := t.Context()
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Timers: &timers{}, Config: "max_connections=10"})
		i.Exec("CREATE USER boss@localhost IDENTIFIED VIA unix_socket AS 'root'",
			"GRANT ALL ON *.* TO boss@localhost WITH GRANT OPTION")
		for _, spoil := range []string{
			"IDENTIFIED VIA mysql_native_password USING PASSWORD('S#1')",
			"ACCOUNT LOCK"} {
			i.Exec("ALTER USER root@localhost " + spoil)
			i.Reopen() // as an agent that connects again
			status, err := i.Status(ctx)
			if err != nil || status.Answers || !status.AccessDenied {
				t.Errorf("%s: %+v, %v", spoil, status, err)
			}
			_, err = i.Server.OpenPointSession(ctx, time.Second)
			wants(t, err, errorsv1.Reason_REASON_MARIADB_ACCESS_DENIED)
			_, err = i.Server.Ready(ctx, "")
			wants(t, err, errorsv1.Reason_REASON_MARIADB_ACCESS_DENIED)
			i.Exec("ALTER USER root@localhost IDENTIFIED VIA unix_socket ACCOUNT UNLOCK")
		}
		i.Exec("REVOKE ALL ON *.* FROM root@localhost")
		i.Reopen()
		_, err := i.Server.OpenPointSession(ctx, time.Second)
		if err == nil {
			_, err = i.Reservations.Reserve(ctx, "x", time.Hour, "")
		}
		wants(t, err, errorsv1.Reason_REASON_MARIADB_ACCESS_DENIED)
	})
}
