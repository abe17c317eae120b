package fleet

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// A replica that works is not healthy when its primary's binary log is not what it follows.
func TestReplicaOfAnotherHistoryIsDegraded(t *testing.T) {
	t.Parallel()
	known := map[string]inventory.Server{"db1": {Name: "db1", Address: "10.0.0.1", Port: 3306}}
	replica := observation{server: inventory.Server{Name: "db2", Role: inventory.RoleReplica,
		Primary: "db1", ServerID: 2, History: "one"}, status: replication.Status{Answers: true,
		ServerID: 2, ReadOnly: true, LogUpdates: true, Connections: []replication.Connection{{
			PrimaryHost: "10.0.0.1", PrimaryPort: 3306, IORunning: "Yes", SQLRunning: "Yes",
			UsingGTID: "Slave_Pos", TLS: true, TLSVerify: true}}}}
	for history, want := range map[string]replication.Health{"one": replication.Healthy,
		"": replication.Healthy, "two": replication.Degraded} {
		health, why := judge(replica, known, replication.Status{Answers: true,
			BinlogHistory: history})
		if health != want || (want == replication.Degraded) != strings.Contains(why,
			"another history") {
			t.Errorf("%q: %v, %s", history, health, why)
		}
	}
}
