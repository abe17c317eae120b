package workflow_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

func TestPrimaryIsMadeOnAVolumeOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _ := lab(t)
		srv, h := w.Server("db1"), w.Host("db1")
		if srv.State != inventory.ServerReady || srv.Role != inventory.RolePrimary ||
			srv.ServerID == 0 {
			t.Errorf("record: %+v", srv)
		}
		if h.Starts != 1 || len(w.Cloud.Volumes) != 1 {
			t.Errorf("%d starts of MariaDB, %d volumes", h.Starts, len(w.Cloud.Volumes))
		}
	})
}

func TestReplicaIsMadeFromANewSnapshot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		j := p.Must(replica{Server: "db2", Source: "db1",
			Verify: inventory.VerifyFull})
		srv, h := w.Server("db2"), w.Host("db2")
		if srv.State != inventory.ServerReady || srv.Primary != "db1" ||
			!srv.ReplicationConfigured || srv.BinlogAutoPurge {
			t.Errorf("record: %+v", srv)
		}
		if h.Starts != 1 {
			t.Errorf("%d starts of MariaDB on the replica", h.Starts)
		}
		if len(w.Cloud.Volumes) != 2 {
			t.Errorf("volumes left: %d", len(w.Cloud.Volumes))
		}
		if len(w.Host("db1").Running.Disk.Data.Reserved) != 0 {
			t.Error("the reservation is still there")
		}
		if h.File.SkipReplicaStart {
			t.Error("replication does not start by itself")
		}
		t.Log("\n" + states(j))
	})
}
