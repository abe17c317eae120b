//go:build lab

package mariadb_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/proto/loop"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// tear is what a loss of power does to a file of a replica: the page cache is lost, not the name.
type tear struct {
	files   []string // patterns in the datadir
	content []byte   // nil removes them
}

func (tr tear) strike(t *testing.T, datadir string) {
	t.Helper()
	for _, pattern := range tr.files {
		found, err := filepath.Glob(filepath.Join(datadir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s in the datadir: %v", pattern, err)
		}
		for _, file := range found {
			err := os.Remove(file)
			if tr.content != nil {
				err = os.WriteFile(file, tr.content, 0o660)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func noise(t *testing.T) []byte {
	t.Helper()
	b := make([]byte, 4096)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	relayInfo, relayIndex = "relay-log.info", "understudy-relay-bin.index"
	relayLogs, primaryIs  = "understudy-relay-bin.0*", "master.info"
)

// Whatever a loss of power leaves of the relay state, replication goes on by itself.
func TestTornRelayState(t *testing.T) {
	missing := []byte("5\n./understudy-relay-bin.009999\n4\nmariadb-bin.000001\n4\n0\n")
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica := readyReplica(t, primary, root)
		for name, tears := range map[string][]tear{
			"position file empty":         {{[]string{relayInfo}, []byte{}}},
			"position file of zeros":      {{[]string{relayInfo}, make([]byte, 300)}},
			"position file gone":          {{[]string{relayInfo}, nil}},
			"names a log that is missing": {{[]string{relayInfo}, missing}},
			"logs gone":                   {{[]string{relayLogs}, nil}},
			"logs empty":                  {{[]string{relayLogs}, []byte{}}},
			"noise in logs":               {{[]string{relayLogs}, noise(t)}},
			"index of zeros":              {{[]string{relayIndex}, make([]byte, 4096)}},
			"index names a missing log":   {{[]string{relayIndex}, []byte("./x-relay.09\n")}},
			"connections and position empty": {{[]string{"multi-master.info", relayInfo},
				[]byte{}}},
			"a torn name of a connection": {{[]string{"multi-master.info"}, []byte("garb\n")}},
			"all of it":                   {{[]string{relayInfo, relayIndex, relayLogs}, []byte{}}},
		} {
			replica.Kill()
			for _, tr := range tears {
				tr.strike(t, replica.Datadir)
			}
			primary.Exec("INSERT INTO shop.t (a) VALUES (1)")
			replica.Run()
			follows(t, name, primary, replica)
			t.Log(name)
		}
	})
}

// readyReplica starts its replication together with MariaDB, and is looked after.
func readyReplica(t *testing.T, primary *mariadbtest.Instance,
	root string) *mariadbtest.Instance {
	t.Helper()
	replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
		CA: mariadbtest.SameCA(primary)}, password)
	s := replica.Settings(2)
	s.SkipReplicaStart = false
	if _, err := replica.Configuration.Set(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		replica.Replica.Repair(ctx, loop.NewSet(replica.Config.Log),
			func(context.Context) bool { return true })
	}()
	t.Cleanup(func() { stop(); <-done })
	return replica
}

// follows waits until the replica has what its primary has, from one connection.
func follows(t *testing.T, name string, primary, replica *mariadbtest.Instance) {
	t.Helper()
	want := primary.Value("SELECT @@gtid_binlog_pos")
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		status, err := replica.Status(t.Context())
		if err == nil && status.Live.Gtid.Slave == want {
			if all := status.Live.Replication; len(all) != 1 || !all[0].TLSVerify {
				t.Errorf("%s: the primary is not verified: %+v", name, all)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: the replica is at %+v %v, not %s", name, status.Live, err, want)
		}
	}
}

// Settings that are lost or torn are not guessed: the control plane gives them again.
func TestTornSettings(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		ctx := t.Context()
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica, point := mariadbtest.CopyOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)})
		replica.Run()
		replica.Join(primary, point, password)
		if _, _, err := replica.Replica.Start(ctx, mariadbtest.Patience); err != nil {
			t.Fatal(err)
		}
		whole, err := os.ReadFile(filepath.Join(replica.Datadir, primaryIs))
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{"empty": {}, "gone": nil,
			"zeros": make([]byte, 300), "begun": whole[:40], "without TLS": whole[:90]} {
			primary.Exec("INSERT INTO shop.t (a) VALUES (1)")
			follows(t, name, primary, replica)
			replica.Kill()
			tear{[]string{primaryIs}, content}.strike(t, replica.Datadir)
			primary.Exec("INSERT INTO shop.t (a) VALUES (2)")
			replica.Run()
			_, _, err := replica.Replica.Start(ctx, mariadbtest.Patience)
			wants(t, err, errorsv1.Reason_REASON_REPLICATION_NOT_CONFIGURED)
			if _, changes, err := replica.Replica.Prepare(ctx,
				mariadbtest.Plan(t, point, 2)); err != nil || len(changes) > 0 {
				t.Fatalf("%s: prepare: %v %v", name, changes, err)
			}
			to := replica.PrimaryIs(primary, password)
			to.Force = true
			if _, _, err := replica.Replica.Configure(ctx, to); err != nil {
				t.Fatalf("%s: configure: %v", name, err)
			}
			if now, _, err := replica.Replica.Start(ctx, mariadbtest.Patience); err != nil ||
				!now.TLSVerify {
				t.Fatalf("%s: start: %+v %v", name, now, err)
			}
			follows(t, name, primary, replica)
		}
	})
}
