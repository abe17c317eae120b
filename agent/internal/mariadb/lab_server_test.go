//go:build lab

package mariadb_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/gtid"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestConfiguration(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		ctx := t.Context()
		ca := mariadbtest.NewCA(t)
		i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true, CA: ca,
			Config: "skip-slave-start\nread_only=1\ntmpdir=/nowhere\nexpire_logs_days=10\n" +
				"event_scheduler=ON\nlog_slave_updates\nloose-ssl-passphrase=geheim"})
		s := i.Settings(7)
		s.SkipReplicaStart, s.ReadOnly = false, false
		s.Extra = map[string]string{"innodb-buffer-pool-size": "32M"}
		done, err := i.Configuration.Set(ctx, s)
		if err != nil || !done.Changed || done.RestartRequired {
			t.Fatalf("%+v %v", done, err)
		}
		if strings.Contains(strings.Join(done.Effective, "\n"), "geheim") {
			t.Error("a secret is shown")
		}
		i.Run()
		status, err := i.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l := status.Live
		if l.ServerID != 7 || l.ReadOnly || l.EventScheduler != "OFF" || !l.LogSlaveUpdates ||
			!l.TLS || l.SyncBinlog != 1 || l.BinlogExpireSeconds != 0 {
			t.Errorf("%+v", l)
		}
		for query, want := range map[string]string{"SELECT @@tmpdir": "/tmp",
			"SELECT @@innodb_buffer_pool_size": "33554432",
			"SELECT @@relay_log":               "understudy-relay-bin",
			"SELECT @@relay_log_recovery":      "1"} {
			if got := i.Value(query); got != want {
				t.Errorf("%s: %s", query, got)
			}
		}
		// The same again is no change; another certificate is taken over without a restart.
		if done, err = i.Configuration.Set(ctx, s); err != nil || done.Changed ||
			done.RestartRequired {
			t.Errorf("again: %+v %v", done, err)
		}
		ca.Issue(t, filepath.Join(i.Dir, "cert"))
		if done, err = i.Configuration.Set(ctx, s); err != nil || !done.Changed ||
			done.RestartRequired {
			t.Errorf("new certificate: %+v %v", done, err)
		}
		for _, renewed := range []bool{false, true} {
			if renewed {
				ca.Issue(t, filepath.Join(i.Dir, "cert"))
			}
			before := i.Certificate()
			if err := i.Configuration.RefreshCertificate(ctx, true); err != nil ||
				renewed == (before == i.Certificate()) {
				t.Errorf("renewed %v: %v, serial %s and %s", renewed, err, before, i.Certificate())
			}
		}
		for name, mode := range map[string]os.FileMode{"ca.pem": 0o644, "key.pem": 0o640} {
			file, err := os.Stat(filepath.Join(i.Config.TLSDir, name))
			if err != nil || file.Mode().Perm() != mode || file.Sys().(*syscall.Stat_t).Uid != 0 {
				t.Errorf("%s, which MariaDB reads and does not write: %v %v", name, file, err)
			}
		}
		s.ServerID = 8
		if done, err = i.Configuration.Set(ctx, s); err != nil || !done.Changed ||
			!done.RestartRequired {
			t.Errorf("another server_id: %+v %v", done, err)
		}
		s.ServerID, s.ReadOnly = 7, true
		if done, err = i.Configuration.Set(ctx, s); err != nil || !done.Changed ||
			done.RestartRequired {
			t.Errorf("read_only: %+v %v", done, err)
		}
		// A file that is read later wins, and that is told.
		if err := os.WriteFile(filepath.Join(i.Dir, "conf.d/zzz.cnf"),
			[]byte("[mariadbd]\nserver-id=1\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = i.Configuration.Set(ctx, s)
		wants(t, err, errorsv1.Reason_REASON_MARIADB_SETTING)
	})
}

func TestOverriddenOptionsAreNamed(t *testing.T) {
	root := roots(t)[0]
	i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
	if err := os.MkdirAll(filepath.Join(i.Dir, "mariadb.conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(i.Dir, "mariadb.conf.d/50-x.cnf"),
		[]byte("[server]\nserver-id = 99\n[client]\nport=1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	done, err := i.Configuration.Set(t.Context(), i.Settings(7))
	if err != nil || !slices.ContainsFunc(done.Overridden, func(o string) bool {
		return strings.HasPrefix(o, "server_id=99 (") && strings.HasSuffix(o, "50-x.cnf)")
	}) {
		t.Errorf("%q %v", done.Overridden, err)
	}
}

// The server itself decides what a position is and which is behind.
func TestPositionsAsTheServerSeesThem(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		i.Exec("SET GLOBAL gtid_strict_mode = 0")
		draw := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) gtid.GTID {
			return gtid.GTID{Domain: rapid.Uint32Range(0, 3).Draw(t, "d"),
				ServerID: rapid.Uint32Range(1, 1<<32-1).Draw(t, "s"),
				Sequence: rapid.Uint64Range(1, 5).Draw(t, "n")}
		}), 0, 4, func(g gtid.GTID) uint32 { return g.Domain })
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			if n++; n > 40 {
				return // each draw costs the server a write
			}
			a, b := gtid.Of(draw.Draw(rt, "a")...), gtid.Of(draw.Draw(rt, "b")...)
			i.Exec("SET GLOBAL gtid_slave_pos = '" + a.String() + "'")
			got, err := gtid.ParsePosition(i.Value("SELECT @@gtid_slave_pos"))
			if err != nil || !got.Equal(a) {
				rt.Fatalf("%s came back as %s: %v", a, got, err)
			}
			reached := i.Value("SELECT MASTER_GTID_WAIT('"+b.String()+"', 0)") == "0"
			if want := a.Missing(b) == 0 && reachable(a, b); reached != want {
				rt.Fatalf("the server at %s says %v of %s", a, reached, b)
			}
		})
		for _, text := range []string{"0-1", "0-1-1,0-2-2", "x", "0-1-1,,1-1-1", "4294967296-1-1"} {
			if _, err := i.DB.ExecContext(t.Context(), "SET GLOBAL gtid_slave_pos = '"+text+
				"'"); err == nil {
				t.Errorf("the server takes %q", text)
			}
		}
	})
}

// reachable is true when a has something in all of b's domains.
func reachable(a, b gtid.Position) bool {
	for _, g := range b.GTIDs() {
		if _, has := a.Domain(g.Domain); !has {
			return false
		}
	}
	return true
}

// Whatever sql_mode the server has, a literal arrives as it was.
func TestLiteralsArriveAsTheyWere(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Config: "sql_mode=NO_BACKSLASH_ESCAPES,ANSI_QUOTES\ngeneral_log=ON\n" +
				"general_log_file=general.log\nslow_query_log=ON\nlong_query_time=0\n" +
				"slow_query_log_file=slow.log\nperformance_schema=ON\n" +
				"performance_schema_consumer_events_statements_current=ON\n" +
				"performance_schema_consumer_events_statements_history_long=ON"})
		ctx := t.Context()
		for n, secret := range []string{`a'b`, `a\`, `\'`, `"x"`, "`", `%_`, "ümläut€",
			`a\\'b--`,
			strings.Repeat("x", 64)} {
			account := mariadb.Account{User: "us_x", Host: "%", Password: secret}
			if changes, err := i.Server.EnsureAccount(ctx, account); err != nil ||
				len(changes) == 0 {
				t.Fatalf("%q: %v %v", secret, changes, err)
			}
			if changes, err := i.Server.EnsureAccount(ctx, account); err != nil ||
				len(changes) > 0 {
				t.Errorf("%q again: %v %v", secret, changes, err)
			}
			if got, want := i.Value("SELECT JSON_VALUE(Priv, '$.authentication_string') FROM "+
				"mysql.global_priv WHERE User = 'us_x'"),
				i.Value("SELECT PASSWORD("+hex(secret)+")"); got != want {
				t.Errorf("%q: the hash is %s, not %s", secret, got, want)
			}
			_, _ = i.Server.SetReadOnly(ctx, true)
			i.Exec(
				// its own transactions are no errant ones then
				"SET GLOBAL gtid_slave_pos = @@gtid_binlog_pos")
			if _, _, err := i.Replica.Configure(ctx, mariadb.Primary{Host: "127.0.0.1", Port: 1,
				User: "us_x", Password: secret, Force: true}); err != nil {
				t.Fatalf("%q: %v", secret, err)
			}
			info, err := os.ReadFile(filepath.Join(i.Datadir, "master.info"))
			if err != nil || !slices.Contains(strings.Split(string(info), "\n"), secret) {
				t.Errorf("%d: %q did not arrive: %v", n, secret, err)
			}
			if _, err := i.Replica.Reset(ctx,
				mariadbtest.Position(t, i.Value("SELECT @@gtid_slave_pos"))); err != nil {
				t.Fatal(err)
			}
			_, _ = i.Server.SetReadOnly(ctx, false)
		}
		history := i.Value("SELECT GROUP_CONCAT(sql_text SEPARATOR '\n') FROM " +
			"performance_schema.events_statements_history_long")
		if !strings.Contains(history, "SELECT PASSWORD") {
			t.Errorf("the history has no statements:\n%s", history)
		}
		for _, name := range []string{"general.log", "slow.log"} {
			log, err := os.ReadFile(filepath.Join(i.Datadir, name))
			if err != nil {
				t.Fatal(err)
			}
			history += string(log)
		}
		for _, secret := range []string{"ümläut", strings.Repeat("x", 64)} {
			if strings.Contains(history, secret) {
				t.Errorf("the password %s is in a log or in the history", secret)
			}
		}
		if changed, err := i.Server.DeleteAccount(ctx, "us_x", "%"); err != nil || !changed {
			t.Errorf("%v %v", changed, err)
		}
		if changed, err := i.Server.DeleteAccount(ctx, "us_x", "%"); err != nil || changed {
			t.Errorf("%v %v", changed, err)
		}
	})
}

func hex(text string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return "x'" + b.String() + "'"
}

func TestAccountIsMended(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		ctx := t.Context()
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		account := mariadb.Account{User: "us_x", Host: "%", Password: "p"}
		for _, spoil := range []string{"DO 1", "ALTER USER us_x REQUIRE NONE",
			"ALTER USER us_x ACCOUNT LOCK", "ALTER USER us_x PASSWORD EXPIRE",
			"GRANT ALL ON *.* TO us_x WITH GRANT OPTION",
			"GRANT SELECT ON mysql.* TO us_x", "REVOKE REPLICATION SLAVE ON *.* FROM us_x",
			"ALTER USER us_x IDENTIFIED BY 'other'",
			"ALTER USER us_x IDENTIFIED VIA unix_socket OR ed25519 USING 'x'", "DROP USER us_x"} {
			if spoil == "DO 1" || !strings.Contains(spoil, "ed25519") {
				i.Exec(spoil)
			}
			changes, err := i.Server.EnsureAccount(ctx, account)
			if err != nil || len(changes) == 0 && !strings.Contains(spoil, "ed25519") {
				t.Errorf("after %s: %v %v", spoil, changes, err)
			}
			grants := i.Value("SHOW GRANTS FOR us_x")
			if !strings.HasPrefix(grants,
				"GRANT REPLICATION SLAVE ON *.* TO `us_x`@`%` IDENTIFIED BY PASSWORD '*") ||
				!strings.HasSuffix(grants, "REQUIRE SSL") {
				t.Errorf("after %s: %s", spoil, grants)
			}
			if changes, err := i.Server.EnsureAccount(ctx, account); err != nil ||
				len(changes) > 0 {
				t.Errorf("after %s, again: %v %v", spoil, changes, err)
			}
		}
	})
}

func TestProveWritable(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		for range 2 {
			if latency, at, err := i.Server.ProveWritable(t.Context()); err != nil || at == "" ||
				latency <= 0 {
				t.Errorf("%v %q %v", latency, at, err)
			}
		}
		if got := i.Value("SELECT @@gtid_binlog_pos"); got != "0-1-4" {
			t.Errorf("database, table, and a row a call: %s", got)
		}
		if changed, err := i.Server.SetReadOnly(t.Context(), true); err != nil || !changed {
			t.Errorf("%v %v", changed, err)
		}
		if _, at, err := i.Server.ProveWritable(t.Context()); err != nil || at != "" ||
			i.Value("SELECT @@gtid_binlog_pos") != "0-1-4" {
			t.Errorf("a replica wrote: %q %v", at, err)
		}
		i.Stop()
		_, _, err := i.Server.ProveWritable(t.Context())
		wants(t, err, errorsv1.Reason_REASON_MARIADB_DOWN)
	})
}
