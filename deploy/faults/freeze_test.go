//go:build lab

package faults

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"
)

// frozen is a snapshot's job at its worst moment: commits are blocked, the filesystem is frozen,
// and the provider does not answer.
type frozen struct {
	job            string
	agent, process int    // processes on this box
	answer         func() // lets the provider answer
	since          int64  // commits before
}

// freeze brings a snapshot's job to that moment. A locked table keeps Quiesce waiting until the
// provider's door is shut; then the table is unlocked.
func (l *lab) freeze(flags ...string) *frozen {
	l.t.Helper()
	root := l.root(primary)
	gate, err := root.Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer gate.Close()
	l.must(gate, "CREATE TABLE IF NOT EXISTS "+l.schema()+".gate (id INT PRIMARY KEY)")
	f := &frozen{agent: l.process(primary, "run")}
	l.must(gate, "LOCK TABLES "+l.schema()+".gate WRITE")
	f.job = l.detach(append([]string{"snapshot", "create", primary, "--quiesce-limit",
		quiesceLimit.String()}, flags...)...)
	l.eventually(2*time.Minute, "Quiesce waits for the locked table", func() bool {
		return len(l.query(root, "SELECT 1 FROM information_schema.processlist WHERE info LIKE "+
			"'BACKUP STAGE%' AND command = 'Query'")) > 0
	})
	f.process = l.process(primary, "quiesce")
	f.answer = l.shutProvider()
	l.must(gate, "UNLOCK TABLES")
	l.eventually(5*time.Second, "the cut waits for the provider",
		func() bool { return l.stepState(f.job, "snapshot") == "running" })
	f.since = l.writer.Commits()
	return f
}

func (l *lab) must(conn *sql.Conn, statement string) {
	l.t.Helper()
	if _, err := conn.ExecContext(l.t.Context(), statement); err != nil {
		l.t.Fatalf("%s: %v", statement, err)
	}
}

// root connects to a host's MariaDB as its root, over the socket.
func (l *lab) root(host string) *sql.DB {
	l.t.Helper()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr = "root", "unix", l.socket(host)
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	l.t.Cleanup(func() { db.Close() })
	return db
}

// shutProvider takes the lock that each call of the provider needs, and returns what gives it back.
func (l *lab) shutProvider() (open func()) {
	l.t.Helper()
	file, err := os.OpenFile(l.labDir("lock"), os.O_RDWR, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		l.t.Fatal(err)
	}
	open = sync.OnceFunc(func() { file.Close() })
	l.t.Cleanup(open)
	return open
}

// process is the agent's process on a host that was started with this word, as this box numbers it.
func (l *lab) process(host, word string) int {
	l.t.Helper()
	var found []int
	l.eventually(2*time.Minute, "`understudy-agent "+word+"` runs on "+host, func() bool {
		found = l.processes(l.machineOf(host).ID, word)
		return len(found) > 0
	})
	return found[0]
}

// processes are the agent's on a machine that were started with this word.
func (l *lab) processes(machine, word string) (found []int) {
	machine = l.keptID(machine)
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(line), "/usr/bin/understudy-agent\x00"+word+
			"\x00") {
			continue
		}
		group, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cgroup"))
		if pid, atoi := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil &&
			atoi == nil && strings.Contains(string(group), machine) {
			found = append(found, pid)
		}
	}
	return found
}

// gone waits until killed processes have ended: until then the kernel takes connections for them.
func (l *lab) gone(machine, word string, killed []int) {
	l.t.Helper()
	l.eventually(2*time.Minute, fmt.Sprintf("%v have ended", killed), func() bool {
		left := l.processes(machine, word)
		return !slices.ContainsFunc(killed,
			func(pid int) bool { return slices.Contains(left, pid) })
	})
}

func (l *lab) signal(pid int, s unix.Signal) {
	l.t.Helper()
	if err := unix.Kill(pid, s); err != nil {
		l.t.Fatalf("cannot send %s to %d: %v", unix.SignalName(s), pid, err)
	}
}

// thaws waits until the primary takes writes again, without a request, and compares the writer's
// longest commit to the limit.
func (l *lab) thaws(f *frozen) {
	l.t.Helper()
	l.eventually(quiesceLimit+20*time.Second, "the primary takes writes again",
		func() bool { return l.writer.Commits() > f.since+5 })
	longest := l.writer.Longest()
	if longest > longestCommit {
		l.t.Errorf("a commit took %s, more than %s", longest, longestCommit)
	}
	l.t.Logf("the longest commit: %s", longest.Round(time.Millisecond))
}

// oneCut expects that the provider has one snapshot of the job's, of a point that was not lost.
func (l *lab) oneCut(job string, generation int32) {
	l.t.Helper()
	j := l.succeeds(job)
	if step := stepOf(j, "quiesce"); step.GetGeneration() < generation {
		l.t.Errorf("quiesce is of generation %d, not at least %d", step.GetGeneration(),
			generation)
	}
	db := l.store()
	defer db.Close()
	var kept []string
	for _, s := range docs[snapshotDoc](l, db, "snapshots") {
		if s.State == "READY" {
			kept = append(kept, s.ProviderID)
		}
	}
	cuts := l.snapshots()
	for _, id := range kept {
		if _, ok := cuts[id]; !ok {
			l.t.Errorf("the provider does not have %s", id)
		}
	}
	if len(cuts) != len(kept) {
		l.t.Errorf("the provider has %d snapshots, the records name %v", len(cuts), kept)
	}
}

// onNetwork runs a program of this box in the network of a host and returns what it printed.
func (l *lab) onNetwork(host string, argv ...string) string {
	l.t.Helper()
	space := "--net=/proc/" + strconv.Itoa(l.machineOf(host).Leader) + "/ns/net"
	out, err := boxCommand(context.Background(), append([]string{"nsenter", space}, argv...)...)
	if err != nil {
		l.t.Fatalf("%v: %v: %s", argv, err, out)
	}
	return out
}
