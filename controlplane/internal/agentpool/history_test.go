package agentpool_test

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// TestWhatIsKnownOfAHistoryIsTold also with what a replica's agent made up: that spoils nothing
// that others said, and the agent of the primary refuses none of it.
func TestWhatIsKnownOfAHistoryIsTold(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	var asked *agentv1.ConfirmHistoryRequest
	f.db1(&agent{mariadb: mariadbService{confirm: func(r *agentv1.ConfirmHistoryRequest) (
		*agentv1.ConfirmHistoryResponse, error) {
		asked = r
		return &agentv1.ConfirmHistoryResponse{BinlogHistory: "one"}, nil
	}}})
	ask := func(known replication.Known) *agentv1.ConfirmHistoryRequest {
		t.Helper()
		id, err := f.pool.ConfirmHistory(t.Context(), "db1", "127.0.0.2", known)
		if err != nil || id != "one" {
			t.Fatalf("%q, %v", id, err)
		}
		return asked
	}
	digest := strings.Repeat("0a", 32)
	good := replication.Read{Replica: "db2", File: "b.000001", Offset: 7, GTID: "0-1-5",
		Seen: time.Now().Add(-time.Hour)}
	known := replication.Known{Seen: "0-1-6", Claim: replication.Claim{ID: "one",
		File: "b.000001", Offset: 5, GTID: "0-1-4", Digest: digest}, Reads: []replication.Read{
		{Replica: "db3", File: "../b.000001"}, {Replica: "db3", File: "b.000001", Offset: -1},
		{Replica: "db3", File: "b.000001", GTID: "0-1-5,0-1-6"}, good,
		{Replica: "db3", File: "b.000001", GTID: strings.Repeat("0-1-5,", 9999) + "0-1-5"}}}
	got := ask(known)
	if c := got.GetClaim(); c.GetId() != "one" || c.GetFile() != "b.000001" ||
		c.GetOffset() != 5 || c.GetGtid() != "0-1-4" || c.GetDigest() != digest ||
		got.GetSeenGtid() != "0-1-6" {
		t.Errorf("told %v", got)
	}
	if all := got.GetReads(); len(all) != 1 || all[0].GetReplica() != "db2" ||
		all[0].GetFile() != "b.000001" || all[0].GetOffset() != 7 ||
		all[0].GetGtid() != "0-1-5" ||
		all[0].GetSeenAgo().AsDuration().Round(time.Minute) != time.Hour {
		t.Errorf("read %v", all)
	}
	for _, spoil := range []func(*replication.Known){
		func(k *replication.Known) { k.Claim.ID = "" },
		func(k *replication.Known) { k.Claim.Digest = "a" },
		func(k *replication.Known) { k.Claim.GTID = "0-1-5,0-1-6" },
		func(k *replication.Known) { k.Seen = "no position" },
	} {
		spoiled := known
		spoil(&spoiled)
		if got := ask(spoiled); got.GetClaim() != nil || len(got.GetReads()) > 0 {
			t.Errorf("told %v", got)
		}
	}
	if _, err := f.pool.ConfirmHistory(t.Context(), "db1", "", known); err == nil {
		t.Error("told a server without an address")
	} else {
		outOfReach(t, err)
	}
}
