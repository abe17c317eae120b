//go:build lab

package mariadb_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// The same positions of another history are told apart: the agent gives it another id.
func TestHistoryOfARealBinaryLog(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		id := status(t, i).History
		if id == "" {
			t.Fatal("no history")
		}
		same := func(what string, is bool) {
			t.Helper()
			now := status(t, i).History
			if now == "" || (now == id) != is {
				t.Errorf("after %s: %q was %q", what, now, id)
			}
			id = now
		}
		write := func(times int) {
			for range times {
				i.Exec("INSERT INTO shop.t (a) VALUES (1)")
			}
		}
		write(20)
		same("writes", true)
		i.Exec("FLUSH BINARY LOGS")
		same("a new log", true)
		write(1)
		i.Stop()
		i.Reopen()
		i.Run()
		same("a restart of both", true)
		i.Kill()
		i.Run()
		same("a crash", true)
		i.Exec("PURGE BINARY LOGS TO '" + status(t, i).BinlogFile + "'")
		i.Reopen()
		same("a purge", true)

		older := t.TempDir()
		i.Stop()
		copyAll(t, i.Datadir+"/.", older)
		i.Run()
		write(5)
		same("writes", true)
		i.Stop()
		copyAll(t, older+"/.", i.Datadir)
		i.Run()
		write(15)
		same("an older datadir, and more writes than it lost", false)

		// All numbers and file names come again.
		at := status(t, i)
		i.Exec("RESET MASTER")
		for status(t, i).BinlogFile != at.BinlogFile {
			i.Exec("FLUSH BINARY LOGS")
		}
		write(60)
		i.Reopen()
		same("RESET MASTER", false)
		if now := status(t, i).Gtid.Binlog; !mariadbtest.Position(t, now).Contains(
			mariadbtest.Position(t, at.Gtid.Binlog)) {
			t.Errorf("the test proves little: %s does not contain %s", now, at.Gtid.Binlog)
		}
	})
}

// TestBinaryLogsThatSomebodyDeleted with rm, not with PURGE: MariaDB lists them still.
func TestBinaryLogsThatSomebodyDeleted(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		remove := func(file string) {
			t.Helper()
			if err := os.Remove(filepath.Join(i.Datadir, filepath.Base(file))); err != nil {
				t.Fatal(err)
			}
		}
		write := func() { i.Exec("INSERT INTO shop.t (a) VALUES (1)", "FLUSH BINARY LOGS") }
		first := status(t, i)
		write()
		second := status(t, i)
		write()
		remove(first.BinlogFile)
		now := status(t, i)
		if now.History != first.History || now.OldestBinlog != second.BinlogFile ||
			now.OldestGtid == "" {
			t.Errorf("an old one: %s (%s), it begins with %s at %q", now.History,
				now.HistoryReason, now.OldestBinlog, now.OldestGtid)
		}
		remembered := now.BinlogFile
		write()
		remove(remembered)
		now = status(t, i)
		if now.History != first.History || now.OldestBinlog != now.BinlogFile {
			t.Errorf("the one before: %s (%s), it begins with %s", now.History,
				now.HistoryReason, now.OldestBinlog)
		}
		logs, _, err := i.Binlogs.List(t.Context(), "", 100)
		if err != nil || len(logs) != 4 || logs[0].StartGtid != "" || logs[3].StartGtid == "" {
			t.Errorf("listed %+v %v", logs, err)
		}
		remove(now.BinlogFile)
		status(t, i)
		if now = status(t, i); now.History != "" ||
			!strings.Contains(now.HistoryReason, now.BinlogFile+", is not there any more") {
			t.Errorf("the current one: %s (%s)", now.History, now.HistoryReason)
		}
		write()
		if now = status(t, i); now.History != first.History {
			t.Errorf("the next: %s (%s), it was %s", now.History, now.HistoryReason,
				first.History)
		}
	})
}

// TestALostHistoryOfARealBinaryLog has an agent lose its state on a primary with a replica: the log
// proves the history, or does not.
func TestALostHistoryOfARealBinaryLog(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		p := &lostState{Instance: i, t: t}
		p.replica = follower(t, i, root)
		p.write(20)
		id := p.known().Claim.ID
		p.lose()
		p.confirmed("nothing is lost", p.seen, id)
		p.lose()
		p.write(5)
		i.Exec("FLUSH BINARY LOGS")
		p.write(5)
		i.Kill()
		i.Run()
		runs := time.Now()
		p.write(5)
		old := p.seen.Reads
		p.seen.Reads = append(p.known().Reads, old...)
		p.seen.Reads[0].SeenAgo = time.Since(runs)
		p.confirmed("writes, logs and a crash", p.seen, id)
		p.lose()
		i.Exec("PURGE BINARY LOGS TO '" + p.seen.Claim.File + "'")
		p.seen.Reads = append(p.seen.Reads, old...)
		p.confirmed("a purge of what was read", p.seen, id)

		// The agent keeps a place of before, and its log goes on from there.
		before := p.known()
		p.write(5)
		read := p.known().Reads
		p.tear(before.Claim)
		i.Reopen()
		p.write(60)
		if now := status(t, i); now.History != id {
			t.Errorf("the test proves little: the agent saw it by itself, %s", now.HistoryReason)
		}
		p.confirmed("a tail that nobody read", before, id)
		before.Reads = read
		id = p.another("a tail that the replica read", before, id, "the replica has read")

		older, stale := t.TempDir(), p.known()
		i.Stop()
		copyAll(t, i.Datadir+"/.", older)
		i.Run()
		p.write(5)
		known := p.known()
		i.Stop()
		if err := os.RemoveAll(i.Datadir); err != nil {
			t.Fatal(err)
		}
		copyAll(t, older, i.Datadir)
		i.Run()
		i.Exec("INSERT INTO shop.t (a) VALUES (2)") // other bytes also within the same second
		p.write(60)
		p.lose()
		// The log that was read is there again, longer than it was, and the claim is of before.
		stale.Reads = slices.Clone(known.Reads)
		stale.Reads[0].SeenAgo = time.Hour
		id = p.another("an older datadir that began a log again", stale, id,
			known.Claim.File+" of before")
		p.lose()
		id = p.another("an older datadir", known, id, known.Claim.File+" has other events")

		known = p.known()
		p.lose()
		i.Exec("RESET MASTER")
		for status(t, i).BinlogFile != known.Claim.File {
			i.Exec("FLUSH BINARY LOGS")
		}
		p.write(400)
		id = p.another("RESET MASTER", known, id, known.Claim.File+" has other events")
		p.lose()
		p.another("no claim", mariadb.KnownHistory{}, id, "on record")
	})
}

// lostState is a primary whose agent loses its state.
type lostState struct {
	*mariadbtest.Instance
	t       *testing.T
	replica *mariadbtest.Instance
	seen    mariadb.KnownHistory
}

// follower is a replica of a copy of the instance, which replicates.
func follower(t *testing.T, i *mariadbtest.Instance, root string) *mariadbtest.Instance {
	t.Helper()
	replica, point := mariadbtest.CopyOf(t, i, mariadbtest.Options{Root: root,
		CA: mariadbtest.SameCA(i)})
	if _, err := replica.Configuration.Set(t.Context(), replica.Settings(2)); err != nil {
		t.Fatal(err)
	}
	replica.Run()
	replica.Join(i, point, password)
	if _, _, err := replica.Replica.Start(t.Context(), mariadbtest.Patience); err != nil {
		t.Fatal(err)
	}
	return replica
}

func (p *lostState) write(times int) {
	for range times {
		p.Exec("INSERT INTO shop.t (a) VALUES (1)")
	}
}

// known is what a control plane knows, once the replica has read all that it can.
func (p *lostState) known() mariadb.KnownHistory {
	p.t.Helper()
	live := status(p.t, p.Instance)
	deadline := time.Now().Add(mariadbtest.Patience)
	for {
		c := status(p.t, p.replica).Replication[0]
		stuck := c.IORunning == "No"
		if c.IORunning == "Connecting" {
			p.replica.Exec("STOP SLAVE", "START SLAVE")
		}
		if stuck || c.GtidIOPos == live.Gtid.Binlog && c.ReadFile == live.BinlogFile {
			known := mariadb.KnownHistory{Claim: live.HistoryClaim, Seen: live.Gtid.Binlog}
			if !stuck {
				known.Reads = []mariadb.ReadPlace{{Replica: "the replica", File: c.ReadFile,
					Offset: c.ReadOffset, Gtid: c.GtidIOPos}}
			}
			return known
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the replica is at %+v, the primary at %s %s", c, live.BinlogFile,
				live.Gtid.Binlog)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// lose is an agent that begins without its state, and what was known before.
func (p *lostState) lose() {
	p.t.Helper()
	p.seen = p.known()
	if err := os.RemoveAll(p.Config.StateDir); err != nil {
		p.t.Fatal(err)
	}
	p.Reopen()
	if live := status(p.t, p.Instance); live.History != "" {
		p.t.Errorf("history %s without a state", live.History)
	}
}

// tear takes the tail of the current binary log behind the claim, as a crash of the host does.
func (p *lostState) tear(claim mariadb.HistoryClaim) {
	p.t.Helper()
	p.Kill()
	if err := os.Truncate(filepath.Join(p.Datadir, claim.File), claim.Offset); err != nil {
		p.t.Fatal(err)
	}
	p.Run()
}

func (p *lostState) confirmed(what string, known mariadb.KnownHistory, want string) {
	p.t.Helper()
	id, reason, err := p.ConfirmHistory(p.t.Context(), known)
	if err != nil || id != want || status(p.t, p.Instance).History != want {
		p.t.Errorf("%s: %s became %q: %s %v", what, want, id, reason, err)
	}
}

func (p *lostState) another(what string, known mariadb.KnownHistory, was, because string) string {
	p.t.Helper()
	id, reason, err := p.ConfirmHistory(p.t.Context(), known)
	if err != nil || id == "" || id == was || !strings.Contains(reason, because) {
		p.t.Errorf("%s: %s became %q, because of %q: %v", what, was, id, reason, err)
	}
	return id
}

func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}
