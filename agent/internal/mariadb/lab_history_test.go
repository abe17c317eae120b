//go:build lab

package mariadb_test

import (
	"os/exec"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
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

func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}
