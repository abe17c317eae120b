package app_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// pair is a control plane with a primary db1 and db2, a READY replica of it.
func pair(t *testing.T) *plane {
	t.Helper()
	w, dir := workflowtest.Outside(t), t.TempDir()
	w.Cloud.Instant = true
	p := planeOf(t, w, dir)
	made, err := p.servers().CreateServer(t.Context(),
		&cpv1.CreateServerRequest{Name: "servers/db1"})
	if err != nil {
		t.Fatal(err)
	}
	p.until(made.GetJob().GetName(), inState(cpv1.Job_STATE_SUCCEEDED))
	p.change(func(db1 *workflowtest.Host) { p.rows(db1, 10) })
	p.replica("db2", &cpv1.CreateReplicaRequest{Primary: "servers/db1"})
	return p
}

// planeOf is a control plane of that state directory in a world.
func planeOf(t testing.TB, w *workflowtest.World, dir string) *plane {
	t.Helper()
	proc := w.Process()
	p := &plane{t: t, proc: proc, Plane: apptest.Start(t, proc, apptest.Settings(t, dir,
		map[string]any{"verify_share": "0", "beat_interval": "100ms", "degraded_after": "0s"}))}
	p.conn = p.Dial(apptest.Operator(t, dir))
	return p
}

func (p *plane) replica(name string, r *cpv1.CreateReplicaRequest) {
	p.t.Helper()
	r.Name = "servers/" + name
	made, err := p.servers().CreateReplica(p.t.Context(), r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.until(made.GetJob().GetName(), inState(cpv1.Job_STATE_SUCCEEDED))
}

// change does something to the host of db1.
func (p *plane) change(what func(db1 *workflowtest.Host)) {
	p.World.Mu.Lock()
	defer p.World.Mu.Unlock()
	what(p.World.Hosts["db1"])
}

// rows are transactions on db1.
func (p *plane) rows(db1 *workflowtest.Host, n int) {
	for range n {
		db1.DatadirDisk().Data.Write(1001, "shop.orders", uint64(n))
	}
}

// applied waits until db2 has applied all, and the control plane knows that.
func (p *plane) applied() {
	p.t.Helper()
	p.awaits("db2 applies all", func() bool {
		p.World.Mu.Lock()
		defer p.World.Mu.Unlock()
		db1 := p.World.Hosts["db1"]
		return slices.ContainsFunc(db1.Told.Reads, func(r replication.Read) bool {
			return r.Replica == "db2" && r.GTID == db1.DatadirDisk().Data.Pos()
		})
	})
}

func (p *plane) awaits(what string, condition func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("not so within a minute: %s", what)
		}
	}
}

// state is that of db2, with its findings.
func (p *plane) state() (cpv1.Server_State, string) {
	p.t.Helper()
	answer, err := p.servers().GetServer(p.t.Context(), &cpv1.GetServerRequest{Name: "servers/db2"})
	if err != nil {
		p.t.Fatal(err)
	}
	text := ""
	for _, f := range answer.GetServer().GetFindings() {
		text += f.GetCode() + ": " + f.GetText() + "\n"
	}
	return answer.GetServer().GetState(), text
}

// TestTheStateOfAnAgentIsLost on a primary, while other things happen to its binary log.
func TestTheStateOfAnAgentIsLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(p *plane, db1 *workflowtest.Host)
		lost      bool // the state of the agent is lost as well
		says      string
	}{
		"nothing": {func(*plane, *workflowtest.Host) {}, true, ""},
		"writes and a restart": {func(p *plane, db1 *workflowtest.Host) {
			p.rows(db1, 5)
			db1.Start()
			p.rows(db1, 5)
		}, true, ""},
		"RESET MASTER, and the numbers come again": {func(p *plane, db1 *workflowtest.Host) {
			db1.DatadirDisk().Data.ResetLog()
			p.rows(db1, 100)
		}, true, "another history since"},
		"a volume of before, and the numbers come again": {
			func(p *plane, db1 *workflowtest.Host) {
				db1.DatadirDisk().Data.LoseTail(5)
				db1.Start()
				p.rows(db1, 7)
			}, true, "another history since"},
		"a machine of before, with its agent": {func(p *plane, db1 *workflowtest.Host) {
			db1.DatadirDisk().Data.LoseTail(5)
			db1.Start()
			p.rows(db1, 7)
		}, false, "another history since"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pair(t)
			p.change(func(db1 *workflowtest.Host) { p.rows(db1, 10) })
			p.applied()
			p.change(func(db1 *workflowtest.Host) {
				c.meanwhile(p, db1)
				if c.lost {
					db1.LoseState()
				}
			})
			if c.says == "" {
				// Its job waits for the history, and refuses a copy of another one.
				p.replica("db3", &cpv1.CreateReplicaRequest{Primary: "servers/db1"})
				p.applied()
				if state, text := p.state(); state != cpv1.Server_STATE_READY {
					t.Errorf("db2 is %s: %s", state, text)
				}
				return
			}
			p.awaits("db2 is DEGRADED", func() bool {
				state, text := p.state()
				return state == cpv1.Server_STATE_DEGRADED &&
					strings.Contains(text, "LINEAGE_BROKEN") && strings.Contains(text, c.says)
			})
		})
	}
}
