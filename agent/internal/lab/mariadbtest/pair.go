//go:build lab

package mariadbtest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/consistentpoint"
)

// Settings are those that a server of a fleet gets.
func (i *Instance) Settings(id int64) mariadb.Settings {
	return mariadb.Settings{ServerID: id, Bind: "127.0.0.1", Port: i.Port, LogBin: "mariadb-bin",
		LogSlaveUpdates: true, TLS: i.Config.TLS.CA != "",
		Durable: true, SkipReplicaStart: true, ReadOnly: id > 1, Contract: i.contract}
}

// Primary is a primary with its configuration, TLS and some data.
func Primary(t testing.TB, o Options) *Instance {
	t.Helper()
	o.Install = true
	if o.CA == nil {
		o.CA = NewCA(t)
	}
	i := New(t, o)
	_, err := i.Configuration.Set(t.Context(), i.Settings(1))
	must(t, err)
	i.Run()
	i.Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, a "+
		"INT, b VARCHAR(100), KEY (a)) ENGINE=InnoDB",
		"CREATE TABLE shop.m (id BIGINT AUTO_INCREMENT PRIMARY KEY, a INT) ENGINE=MyISAM",
		"INSERT INTO shop.t (a, b) SELECT seq, REPEAT('x', 50) FROM shop.seq_1_to_2000",
		"INSERT INTO shop.m (a) SELECT seq FROM shop.seq_1_to_100")
	return i
}

// Copy is a copy of the primary's volume, made while it is quiesced, and its consistent point.
func Copy(t testing.TB, primary *Instance, to string) consistentpoint.Point {
	t.Helper()
	ctx := context.Background()
	session, err := primary.Server.OpenPointSession(ctx, 2*time.Second)
	must(t, err)
	defer session.Close()
	must(t, session.Volume.Sync())
	marker := filepath.Join(primary.Dir, "stopped")
	defer func() { must(t, primary.Server.ResumeAppliers(ctx, marker)) }()
	must(t, session.StopAppliers(ctx, marker))
	for _, stage := range mariadb.Stages() {
		must(t, session.Stage(ctx, stage))
	}
	point, err := session.Read(ctx)
	must(t, err)
	runner, err := hostexec.New(hostexec.Config{})
	must(t, err)
	_, err = runner.Run(ctx,
		hostexec.Command{Tool: "cp", Args: []string{"-a", "--reflink=auto", "--",
			primary.Datadir + "/.", to}})
	must(t, err)
	must(t, session.Unbroken(ctx, point))
	must(t, session.End(ctx))
	return point
}

// ReplicaOf is a replica of the primary, made of a copy, configured and running, with its own
// account.
func ReplicaOf(t testing.TB, primary *Instance, o Options, password string) *Instance {
	t.Helper()
	i, point := CopyOf(t, primary, o)
	i.Run()
	i.Join(primary, point, password)
	_, _, err := i.Replica.Start(t.Context(), 20*time.Second)
	must(t, err)
	return i
}

// CopyOf is an instance on a copy of the primary that does not run yet.
func CopyOf(t testing.TB, primary *Instance, o Options) (*Instance, consistentpoint.Point) {
	t.Helper()
	if o.ServerID == 0 {
		o.ServerID = 2
	}
	i := New(t, o)
	point := Copy(t, primary, i.Datadir)
	_, err := i.Datadirs.Prepare(t.Context(), mariadb.DatadirPlan{Copy: true,
		Contract: point.Contract})
	must(t, err)
	i.contract = point.Contract
	_, err = i.Configuration.Set(t.Context(), i.Settings(int64(o.ServerID)))
	must(t, err)
	return i, point
}

// CutUpgrade leaves of an upgrade that was cut off what MariaDB 11 leaves: an empty file.
func CutUpgrade(t testing.TB, i *Instance) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(i.Datadir, "mariadb_upgrade_info"), nil, 0o644))
}

// Join makes it follow the primary; its threads do not run yet.
func (i *Instance) Join(primary *Instance, point consistentpoint.Point, password string) {
	i.t.Helper()
	ctx := context.Background()
	id := Atoi(i.t, i.Value("SELECT @@server_id"))
	_, err := primary.Server.EnsureAccount(ctx, mariadb.Account{User: fmt.Sprintf("us_%d", id),
		Host: "127.0.0.1", Password: password})
	must(i.t, err)
	_, _, err = i.Replica.Prepare(ctx, Plan(i.t, point, int64(id)))
	must(i.t, err)
	_, _, err = i.Replica.Configure(ctx, i.PrimaryIs(primary, password))
	must(i.t, err)
}

// PrimaryIs says who the primary is, for ConfigureReplica.
func (i *Instance) PrimaryIs(primary *Instance, password string) mariadb.Primary {
	return mariadb.Primary{Host: "127.0.0.1", Port: primary.Port,
		User: "us_" + i.Value("SELECT @@server_id"), Password: password, TLS: true}
}

// Patience is how long a test waits for what has to come: long, because the box may be busy.
const Patience = 3 * time.Minute

// loadBeat is the time between two statements of one of a load's writers. A load without a pace
// outruns the appliers of its replicas on a busy box.
const loadBeat = 10 * time.Millisecond

// Load writes to the primary until the test ends or stop is called: transactions, MyISAM rows and
// DDL, at most 300 statements a second.
func Load(t testing.TB, primary *Instance) *Writers {
	statements, kill := context.WithCancel(context.Background())
	load, stop := context.WithCancel(statements)
	w := &Writers{stop: stop}
	for n := range 3 {
		w.wait.Go(func() { w.write(load, statements, primary.DB, n) })
	}
	t.Cleanup(func() { kill(); w.Stop() })
	return w
}

// Writers are a load, and its figures.
type Writers struct {
	stop context.CancelFunc
	wait sync.WaitGroup
	// Commits and Errors are counts; Slowest is the longest commit, in nanoseconds.
	Commits, Errors, Slowest atomic.Int64
}

// Stop ends the load, with its last statements: a server commits one that was given up whenever it
// likes, behind who reads a position now.
func (w *Writers) Stop() { w.stop(); w.wait.Wait() }

func (w *Writers) write(load, statements context.Context, db *sql.DB, n int) {
	beat := time.NewTicker(loadBeat)
	defer beat.Stop()
	for round := 0; load.Err() == nil; round++ {
		<-beat.C
		began := time.Now()
		statement := "INSERT INTO shop.t (a, b) VALUES (RAND() * 1000, MD5(RAND()))"
		switch {
		case n == 1 && round%3 == 0:
			statement = fmt.Sprintf("UPDATE shop.t SET a = a + 1 WHERE id = %d", rand.IntN(2000)+1)
		case n == 2 && round%50 == 0:
			statement = fmt.Sprintf(
				"CREATE OR REPLACE TABLE shop.ddl_%d (id INT PRIMARY KEY) ENGINE=InnoDB", round%7)
		case n == 2:
			statement = "INSERT INTO shop.m (a) VALUES (1)"
		}
		if _, err := db.ExecContext(statements, statement); err != nil {
			if statements.Err() == nil {
				w.Errors.Add(1)
			}
			continue
		}
		w.Commits.Add(1)
		if took := int64(time.Since(began)); took > w.Slowest.Load() {
			w.Slowest.Store(took)
		}
	}
}
