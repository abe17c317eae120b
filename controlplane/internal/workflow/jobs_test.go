package workflow_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// lab is a world with a primary that has data.
func lab(t *testing.T) (*world, *process) {
	t.Helper()
	w := newWorld(t)
	p := w.start().run()
	p.must(primary{Server: "db1"})
	w.mu.Lock()
	d := w.hosts["db1"].running.disk.data
	for i := range 20 {
		d.write(w.hosts["db1"].running.conf.ServerID, "shop.orders", uint64(i))
		d.write(w.hosts["db1"].running.conf.ServerID, "shop.items", uint64(i))
	}
	w.mu.Unlock()
	return w, p
}

func TestPrimaryIsMadeOnAVolumeOfItsOwn(t *testing.T) {
	t.Parallel()
	w, _ := lab(t)
	srv, h := w.server("db1"), w.host("db1")
	if srv.State != inventory.ServerReady || srv.Role != inventory.RolePrimary ||
		srv.ServerID == 0 {
		t.Errorf("record: %+v", srv)
	}
	if h.starts != 1 || len(w.cloud.volumes) != 1 {
		t.Errorf("%d starts of MariaDB, %d volumes", h.starts, len(w.cloud.volumes))
	}
}

func TestReplicaIsMadeFromANewSnapshot(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	j := p.must(replica{Server: "db2", Source: "db1",
		Verify: inventory.VerifyFull})
	srv, h := w.server("db2"), w.host("db2")
	if srv.State != inventory.ServerReady || srv.Primary != "db1" || !srv.ReplicationConfigured ||
		srv.BinlogAutoPurge {
		t.Errorf("record: %+v", srv)
	}
	if h.starts != 1 {
		t.Errorf("%d starts of MariaDB on the replica", h.starts)
	}
	if len(w.cloud.volumes) != 2 {
		t.Errorf("volumes left: %d", len(w.cloud.volumes))
	}
	if len(w.host("db1").running.disk.data.reserved) != 0 {
		t.Error("the reservation is still there")
	}
	if h.file.SkipReplicaStart {
		t.Error("replication does not start by itself")
	}
	t.Log("\n" + states(j))
}
