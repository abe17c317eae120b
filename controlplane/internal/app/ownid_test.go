package app_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestItsOwnServerIDInThePrimarysLog: a replica leaves out what bears it, and a new one gets a
// server_id that its primary has not logged.
func TestItsOwnServerIDInThePrimarysLog(t *testing.T) {
	t.Parallel()
	p := pair(t)
	id := func(name string) uint32 {
		answer, err := p.servers().GetServer(t.Context(),
			&cpv1.GetServerRequest{Name: "servers/" + name})
		if err != nil {
			t.Fatal(err)
		}
		return answer.GetServer().GetServerId()
	}
	own := id("db2")
	write := func(id uint32) {
		p.change(func(db1 *workflowtest.Host) {
			db1.DatadirDisk().Data.Write(id, "shop.orders", 7)
			p.rows(db1, 1)
		})
	}
	write(own)
	p.awaits("db2 is DEGRADED", func() bool {
		state, text := p.state()
		return state == cpv1.Server_STATE_DEGRADED && strings.Contains(text, "SERVER_ID_TAKEN") &&
			strings.Contains(text, "bear its own server_id")
	})
	write(own + 1)
	p.replica("db3", &cpv1.CreateReplicaRequest{Primary: "servers/db1"})
	if got := id("db3"); got != own+2 {
		t.Errorf("db3 has server_id %d, and db1 has logged %d", got, own+1)
	}
}
