package snapshot

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// TestWhatCannotBeCopiedIsRefused changes one thing of a primary, or of a replica, that could be.
func TestWhatCannotBeCopiedIsRefused(t *testing.T) {
	t.Parallel()
	const online, crash = inventory.ModeOnline, inventory.ModeCrash
	none := errorsv1.Reason_REASON_UNSPECIFIED
	for _, test := range []struct {
		name   string
		mode   inventory.SnapshotMode
		change func(n *kit.Node)
		want   errorsv1.Reason
		says   string
	}{
		{"a primary", online, func(*kit.Node) {}, none, ""},
		{"a primary without a lock", crash, func(*kit.Node) {}, none, ""},
		{"a replica", online, asReplica, none, ""},
		{"one that was out of reach", online, func(n *kit.Node) {
			n.State = inventory.ServerUnreachable
		}, none, ""},
		{"one that is ill", online, func(n *kit.Node) { n.State = inventory.ServerDegraded },
			errorsv1.Reason_REASON_WRONG_ROLE, "db1 is DEGRADED"},
		{"one that is being made", online, func(n *kit.Node) {
			n.State = inventory.ServerProvisioning
		}, errorsv1.Reason_REASON_WRONG_ROLE, "db1 is PROVISIONING"},
		{"no binary log", online, func(n *kit.Node) { n.Status.LogBin = false },
			errorsv1.Reason_REASON_BINLOG_OFF, "binary log of db1 is off"},
		{"a replica's binary log is not needed", online, func(n *kit.Node) {
			n.Role, n.Status.LogBin = inventory.RoleReplica, false
		}, none, ""},
		{"a copy's position may tear", online, func(n *kit.Node) {
			n.Status.Settings = map[string]string{"gtid_slave_pos_engine": "Aria"}
		}, errorsv1.Reason_REASON_MARIADB_SETTING, "position of db1 is not transactional"},
		{"no room", online, func(n *kit.Node) { n.Status.FilesystemFree = minFree - 1 },
			errorsv1.Reason_REASON_DISK_FULL, "data volume of db1"},
		{"commits that are not on the disk", crash, func(n *kit.Node) {
			n.Status.FlushAtCommit = 2
		}, errorsv1.Reason_REASON_MARIADB_SETTING, "on db1 they are 1 and 2"},
		{"a binary log that is not on the disk", crash, func(n *kit.Node) {
			n.Status.SyncBinlog = 0
		}, errorsv1.Reason_REASON_MARIADB_SETTING, "on db1 they are 0 and 1"},
		{"commits that the lock holds still", online, func(n *kit.Node) {
			n.Status.SyncBinlog, n.Status.FlushAtCommit = 0, 2
		}, none, ""},
		{"a table that would tear", crash, func(n *kit.Node) {
			n.Status.NonTransactional = []string{"app.log"}
		}, errorsv1.Reason_REASON_TABLES_NOT_TRANSACTIONAL, "app.log"},
		{"a table that the lock holds still", online, func(n *kit.Node) {
			n.Status.NonTransactional = []string{"app.log"}
		}, none, ""},
	} {
		n := &kit.Node{Server: inventory.Server{Name: "db1", State: inventory.ServerReady,
			Role: inventory.RolePrimary}, Status: replication.Status{LogBin: true, SyncBinlog: 1,
			FlushAtCommit: 1, FilesystemFree: minFree}}
		test.change(n)
		err := checkSourceState(n, test.mode)
		if (err != nil) != (test.want != none) || err != nil && errs.ReasonOf(err) != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if err != nil && (!strings.Contains(err.Error(), test.says) || errs.HintOf(err).Empty()) {
			t.Errorf("%s: %v, hint %+v", test.name, err, errs.HintOf(err))
		}
	}
}

func asReplica(n *kit.Node) { n.Role = inventory.RoleReplica }
