package fleet

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// TestReplicaThatStandsStill has an applier that waits for a lock: both threads run, without an
// error.
func TestReplicaThatStandsStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := judged(t, MonitorConfig{})
		f.last.SlavePos = "0-1-10"
		f.last.Connections[0].SQLState = "Waiting for table metadata lock"
		f.last.LockHolders = "a lock may be held by session 42"
		primary := replication.Status{Answers: true, BinlogHistory: "one", BinlogPos: "0-1-10"}
		expect := func(when string, still bool) {
			t.Helper()
			f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306}, primary)
			found := f.judge()
			switch {
			case !still && len(found) > 0:
				t.Errorf("%s: found %v", when, found)
			case still && (len(found) != 1 || found[0].Code != replication.ReplicationStill ||
				!strings.Contains(found[0].Text, "metadata lock") ||
				!strings.Contains(found[0].Text, "session 42") || found[0].Hint.Empty()):
				t.Errorf("%s: found %v", when, found)
			}
			f.srv.Findings = findings(found, f.srv.Findings, time.Now())
		}
		expect("both are idle", false)
		time.Sleep(2 * stillAfter)
		expect("both are idle for long", false)
		primary.BinlogPos = "0-1-11"
		expect("the primary goes on", false)
		time.Sleep(stillAfter - time.Second)
		expect("not long enough", false)
		time.Sleep(time.Second)
		expect("long enough", true)
		f.still = standstill{}
		expect("after a start of the control plane", true)
		primary.Answers = false
		expect("the primary is down", true)
		f.last.SlavePos = "0-1-11"
		expect("it goes on", false)
		primary.Answers, primary.BinlogPos = true, "0-1-99"
		for _, at := range []string{"0-1-12", "0-1-13", "0-1-14"} {
			time.Sleep(stillAfter - time.Second)
			f.last.SlavePos = at
			expect("it is behind, and moves", false)
		}
		f.last.SlavePos, primary.BinlogPos = "0-1-99,1-1-5", "0-1-99,1-1-6"
		expect("it lacks one of another domain", false)
		time.Sleep(stillAfter)
		f.last.SlavePos, primary.BinlogPos = "0-1-200,1-1-5", "0-1-201,1-1-6"
		expect("one domain moves, the other stands still", true)
		f.last.SlavePos = "0-1-201,1-1-6"
		expect("both go on", false)
	})
}
