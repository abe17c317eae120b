//go:build lab

package mariadb_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// timers remember what was armed, as systemd does.
type timers struct {
	mu    sync.Mutex
	armed map[string]time.Duration
}

func (t *timers) StartTransientTimer(_ context.Context, name string, after time.Duration,
	spec systemd.TransientSpec) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.armed == nil {
		t.armed = map[string]time.Duration{}
	}
	if len(spec.Exec) != 3 || spec.Exec[1] != "unreserve" {
		return errors.New("an odd timer")
	}
	name = strings.TrimSuffix(name, ".service")
	if t.armed[name+".timer"] > 0 && t.armed[name+"_next.timer"] == 0 {
		return errors.New("for a moment nothing ends the reservation: a timer is stopped before " +
			"its successor starts")
	}
	t.armed[name+".timer"] = after
	return nil
}

func (t *timers) StopTransient(_ context.Context, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.armed, name)
	return nil
}

func (t *timers) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for name := range t.armed {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestReservations(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		ctx, armed := t.Context(), &timers{}
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true, Timers: armed,
			Config: "expire_logs_days=10"})
		i.Exec("CREATE DATABASE shop", "FLUSH BINARY LOGS",
			"CREATE TABLE shop.t (id INT PRIMARY KEY)", "FLUSH BINARY LOGS",
			"INSERT INTO shop.t VALUES (1)")
		kept := func(want string) {
			t.Helper()
			if got := i.Value("SELECT @@binlog_expire_logs_seconds"); got != want {
				t.Errorf("expire %s, not %s", got, want)
			}
		}
		kept("864000")
		one, err := i.Reservations.Reserve(ctx, "one", time.Hour, "0-1-2")
		if err != nil || one.FirstFile != "mariadb-bin.000001" ||
			time.Until(one.Until) < 59*time.Minute {
			t.Fatalf("%+v %v", one, err)
		}
		if _, err := i.Reservations.Reserve(ctx, "two", time.Hour, ""); err != nil {
			t.Fatal(err)
		}
		kept("0")
		if got := armed.names(); !slices.Equal(got, []string{"understudy-unreserve-one.timer",
			"understudy-unreserve-two.timer"}) {
			t.Errorf("%v", got)
		}
		_, err = i.Binlogs.Purge(ctx, "mariadb-bin.000003")
		wants(t, err, errorsv1.Reason_REASON_BINLOGS_NEEDED)
		if _, err := i.Binlogs.Purge(ctx, "mariadb-bin.000077"); !errors.Is(err, errs.NotFound) {
			t.Errorf("%v", err)
		}
		// A restart forgets the setting; whoever looks makes it anew, and no log was deleted by the
		// start.
		i.Stop()
		i.Run()
		i.Reopen()
		kept("0")
		i.Exec("SET GLOBAL binlog_expire_logs_seconds = 5")
		if _, err := i.Status(ctx); err != nil {
			t.Fatal(err)
		}
		kept("0")
		i.Exec("SET GLOBAL binlog_expire_logs_seconds = 864000")
		if _, err := i.Status(ctx); err != nil {
			t.Fatal(err)
		}
		if changed, err := i.Reservations.Release(ctx, "one"); err != nil || !changed {
			t.Errorf("%v %v", changed, err)
		}
		kept("0")
		logs, next, err := i.Binlogs.List(ctx, "", 2)
		if err != nil || len(logs) != 2 || next != "mariadb-bin.000002" ||
			logs[1].StartGtid != "0-1-1" || !slices.Contains(logs[0].NeededBy, "reservation two") {
			t.Errorf("%+v %s %v", logs, next, err)
		}
		if logs, next, err = i.Binlogs.List(ctx, next, 50); err != nil || len(logs) != 2 ||
			next != "" {
			t.Errorf("%+v %s %v", logs, next, err)
		}
		// What the timer runs leaves one alone whose time is not over.
		if err := i.Reservations.Unreserve(ctx, "two"); err != nil {
			t.Fatal(err)
		}
		kept("0")
		if _, err := i.Reservations.Reserve(ctx, "two", time.Millisecond, ""); err != nil {
			t.Fatal(err)
		}
		if err := i.Reservations.Unreserve(ctx, "two"); err != nil {
			t.Fatal(err)
		}
		kept("864000")
		if changed, err := i.Reservations.Release(ctx, "two"); err != nil || changed {
			t.Errorf("%v %v", changed, err)
		}
		if got := armed.names(); len(got) > 0 {
			t.Errorf("%v", got)
		}
		if purged, err := i.Binlogs.Purge(ctx, "mariadb-bin.000003"); err != nil ||
			len(purged) != 2 {
			t.Errorf("%v %v", purged, err)
		}
		_, err = i.Reservations.Reserve(ctx, "late", time.Hour, "0-1-1")
		wants(t, err, errorsv1.Reason_REASON_BINLOGS_PURGED)
		kept("864000")
		if all, err := i.Reservations.InForce(); err != nil || len(all) > 0 {
			t.Errorf("%v %v", all, err)
		}
		if _, err := os.Stat(i.Config.DropIn); err == nil {
			t.Error("an option file is left that nobody asked for")
		}
	})
}

// The option file keeps what is reserved, whatever else is written into it, and lets go of it.
func TestReservationsAndTheOptionFile(t *testing.T) {
	ctx := t.Context()
	i := mariadbtest.Start(t, mariadbtest.Options{Root: roots(t)[0], Install: true,
		Timers: &timers{}, CA: mariadbtest.NewCA(t)})
	s := i.Settings(1)
	s.BinlogExpireSeconds = 7777
	for _, step := range []struct {
		do   func() error
		kept bool
	}{
		{func() error { _, err := i.Configuration.Set(ctx, s); return err }, false},
		{func() error { _, err := i.Reservations.Reserve(ctx, "x", time.Hour, ""); return err },
			true},
		{func() error {
			done, err := i.Configuration.Set(ctx, s)
			if done.Changed {
				t.Error("the same settings are a change")
			}
			return err
		}, true},
		{func() error { s.ReadOnly = true; _, err := i.Configuration.Set(ctx, s); return err },
			true},
		{func() error { _, err := i.Reservations.Release(ctx, "x"); return err }, false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(i.Config.DropIn)
		if err != nil || strings.Contains(string(text),
			"While binary logs are reserved") != step.kept ||
			!strings.Contains(string(text), "binlog_expire_logs_seconds=7777") {
			t.Errorf("%s %v", text, err)
		}
	}
}

// The expiry is one of the file and of the running server; a reservation keeps the running one at 0
// and gives back the newest rule.
func TestBinlogExpiry(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		ctx := t.Context()
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true, Timers: &timers{},
			Config: "expire_logs_days=10"})
		settings := i.Settings(1)
		settings.BinlogExpireSeconds = 7777
		if _, err := i.Configuration.Set(ctx, settings); err != nil {
			t.Fatal(err)
		}
		is := func(running, file string, reserved bool) {
			t.Helper()
			if got := i.Value("SELECT @@binlog_expire_logs_seconds"); got != running {
				t.Errorf("the running server has %s, not %s", got, running)
			}
			text, err := os.ReadFile(i.Config.DropIn)
			if err != nil || !strings.Contains(string(text), "\nbinlog_expire_logs_seconds="+file+
				"\n") || !strings.Contains(string(text), "server_id=1\n") ||
				strings.Contains(string(text), "While binary logs are reserved") != reserved {
				t.Errorf("%s %v", text, err)
			}
		}
		makes := func(seconds int64) {
			t.Helper()
			for _, want := range []bool{true, false} {
				if changed, err := i.Binlogs.SetExpiry(ctx, seconds); err != nil ||
					changed != want {
					t.Errorf("%d: changed %v, %v", seconds, changed, err)
				}
			}
		}
		is("864000", "7777", false)
		makes(3600)
		is("3600", "3600", false)
		if _, err := i.Reservations.Reserve(ctx, "x", time.Hour, ""); err != nil {
			t.Fatal(err)
		}
		makes(0)
		is("0", "0", true)
		makes(60)
		is("0", "60", true)
		i.Stop() // what a restart forgets is remembered
		if _, err := i.Binlogs.SetExpiry(ctx, 5); !errors.Is(err, errs.Unavailable) {
			t.Errorf("down: %v", err)
		}
		i.Run()
		i.Reopen()
		is("0", "60", true)
		if _, err := i.Reservations.Release(ctx, "x"); err != nil {
			t.Fatal(err)
		}
		is("60", "60", false)
		if _, err := i.Reservations.Reserve(ctx, "y", time.Hour, ""); err != nil {
			t.Fatal(err)
		}
		makes(0)
		if _, err := i.Reservations.Release(ctx, "y"); err != nil {
			t.Fatal(err)
		}
		is("0", "0", false)
		if err := os.WriteFile(filepath.Join(i.Dir, "conf.d/zzz.cnf"),
			[]byte("[mariadbd]\nexpire-logs-days=1\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := i.Binlogs.SetExpiry(ctx, 0)
		wants(t, err, errorsv1.Reason_REASON_MARIADB_SETTING)
	})
}
