package workflow_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/provision"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestPlanLooksAndChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		taken := snapshotIn(t, p.Must(snapshotOf{Source: "db1"}))
		mark := w.Mark()
		planned := map[string]bool{}
		for _, what := range []workflowtest.Asked{
			replica{Server: "db3", Source: "db1"}, replica{Server: "db3", Snapshot: taken},
			primary{Server: "db9"}, snapshotOf{Source: "db1"}, deletion{Server: "db2"},
			snapshotDeletion{Snapshot: taken}, verification{Replica: "db2"}, purging{Server: "db1"},
			growth, workflowtest.Reboot{Server: "db2"},
			workflowtest.Stop{Server: "db2"}, workflowtest.Start{Server: "db2"},
			workflowtest.Rotation{Replica: "db2"},
			rebuild{Server: "db2"}, rebuild{Server: "db2", Snapshot: taken},
		} {
			j, err := p.Flow.DryRun(t.Context(), kit.Request{Args: what.Args()})
			if err != nil {
				t.Fatal(what.Args().Kind(), err)
			}
			planned[j.Kind] = true
			if j.ID != "" || j.Title == "" {
				t.Errorf("%+v", j)
			}
			checkPlanned(t, p, j)
		}
		for _, plan := range p.Flow.Plans() {
			if !planned[plan.Kind] {
				t.Errorf("there is no dry run of %s here", plan.Kind)
			}
		}
		if changes := w.Changes(mark); len(changes) > 0 {
			t.Errorf("the plan made changes: %v", changes)
		}
	})
}

// checkPlanned holds what a dry run shows to the steps of its kind.
func checkPlanned(t *testing.T, p *process, j job.Job) {
	t.Helper()
	plan, _ := p.Engine.Plan(j.Kind)
	if len(j.Steps) != len(plan.Steps) {
		t.Fatalf("%s: %d steps of %d", j.Kind, len(j.Steps), len(plan.Steps))
	}
	would := 0
	for i, s := range j.Steps {
		if s.Kind != plan.Steps[i].Kind || s.Seq != i || s.Title == "" {
			t.Errorf("%s: step %d is %+v, want %s", j.Kind, i, s, plan.Steps[i].Kind)
		}
		would += len(s.Changed) + len(s.Found) + len(s.Reason) // why it would be skipped
	}
	if would == 0 {
		t.Errorf("the dry run of %s says nothing of what it would do", j.Kind)
	}
}

// TestPlanSaysWhatWillBe reads the two steps whose work depends on what is found.
func TestPlanSaysWhatWillBe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p := lab(t)
		for level, want := range map[inventory.VerifyLevel]string{
			inventory.VerifyPosition: "no rows are compared",
			inventory.VerifySample:   "some tables", inventory.VerifyFull: "all tables"} {
			args := replicaArgs
			args.Verify = level
			j, err := p.Flow.DryRun(t.Context(), kit.Request{
				Args: args.Args()})
			if err != nil {
				t.Fatal(err)
			}
			verify, _ := j.Step("verify")
			if said := strings.Join(verify.Changed, " "); !strings.Contains(said, want) {
				t.Errorf("verify=%s would %q", level, said)
			}
			upgrade, _ := j.Step("upgrade_mariadb")
			if len(upgrade.Changed) > 0 || !strings.Contains(strings.Join(upgrade.Found, " "),
				"nothing to upgrade") {
				t.Errorf("both are of one series, and the upgrade found %q and would %q",
					upgrade.Found, upgrade.Changed)
			}
		}
	})
}

func TestPlanRefusesWhatTheJobWouldRefuse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		j := p.Must(snapshotOf{Source: "db1"})
		taken := snapshotIn(t, j)
		from := func(a replica) kit.Request {
			if a.Server == "" {
				a.Server = "db2"
			}
			if a.Snapshot == "" {
				a.Snapshot = taken
			}
			return kit.Request{Args: a.Args()}
		}
		cases := map[string]struct {
			ask   kit.Request
			says  string
			plant func()
		}{
			"a name that is taken": {ask: from(replica{Server: "db1", Source: "db1"}),
				says: "own replica"},
			"a smaller volume": {ask: from(replica{VolumeBytes: 1 << 30}),
				says: "smaller"},
			"no such image": {ask: from(replica{Image: "woody"}), says: "woody"},
			"an older image": {ask: from(replica{Image: "bookworm"}),
				says: "never goes back"},
			"another zone":     {ask: from(replica{Zone: "moon"}), says: "moon"},
			"no such snapshot": {ask: from(replica{Snapshot: "snap-0"}), says: "snap-0"},
			"a level that is not there": {ask: from(replica{Verify: "maybe"}),
				says: "position, sample, full"},
			"purged binary logs": {ask: from(replica{}), says: "purged", plant: func() {
				w.Hosts["db1"].Running.Disk.Data.Oldest = 1000
			}},
			"a primary that is down": {ask: from(replica{}), says: "does not answer",
				plant: func() { w.Hosts["db1"].Down = true }},
		}
		for _, name := range []string{"a name that is taken", "a smaller volume", "no such image",
			"an older image", "another zone", "no such snapshot",
			"a level that is not there", "purged binary logs", "a primary that is down"} {
			c := cases[name]
			if c.plant != nil {
				w.Mu.Lock()
				c.plant()
				w.Mu.Unlock()
			}
			_, err := p.Flow.DryRun(t.Context(), c.ask)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestRegionalSnapshotServesEveryZone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		w.Mu.Lock()
		w.Cloud.Regional = true
		w.Mu.Unlock()
		taken := snapshotIn(t, p.Must(snapshotOf{Source: "db1"}))
		ask := replica{Server: "db2", Snapshot: taken, Zone: "moon"}
		if _, err := p.Flow.DryRun(t.Context(), kit.Request{
			Args: ask.Args()}); err != nil {
			t.Error(err)
		}
	})
}

func TestRepeatedRequestIsTheSame(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p := lab(t)
		ask := kit.Request{Args: replicaArgs.Args(),
			RequestID: "11111111-2222-3333-4444-555555555555", Who: "tester"}
		create := func() (string, error) {
			_, req, err := p.Flow.Resolve(t.Context(), ask)
			if err != nil {
				return "", err
			}
			j, err := p.Engine.Create(t.Context(), req)
			return j.ID, err
		}
		first, err := create()
		if err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.End(first))
		if again, err := create(); err != nil || again != first {
			t.Errorf("%s, %v", again, err)
		}
		ask.Args = replica{Server: "db2", Source: "db1", Verify: "maybe"}.Args()
		if _, err := create(); errs.KindOf(err) != errs.InvalidArgument {
			t.Errorf("a bad level: %v", err)
		}
	})
}

// TestPlannedCleanupIsWhatIsRemoved holds the dry run of a cleanup to what the cleanup removes.
func TestPlannedCleanupIsWhatIsRemoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, j := brokenOff(t, replicaArgs, "finish")
		mark := w.Mark()
		planned, err := p.Flow.PlanCleanup(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		if changes := w.Changes(mark); len(changes) > 0 {
			t.Errorf("the plan changed %v", changes)
		}
		if now, err := p.Engine.Get(t.Context(), j.ID); err != nil ||
			len(now.Steps) != len(j.Steps) {
			t.Errorf("the plan is in the job: %s, %v", states(now), err)
		}
		for step, removed := range map[string]string{"remove_machine": "remove machine ",
			"remove_volumes": "remove volume ", "remove_account": "drop its replication account"} {
			s, ok := planned.Step(step)
			if !ok || s.Phase != job.CleanupPhase || len(s.Changed) != 1 ||
				!strings.HasPrefix(s.Changed[0], removed) {
				t.Errorf("%s would %q", step, s.Changed)
			}
		}
		machine, _ := planned.Step("remove_machine")
		volume, _ := planned.Step("remove_volumes")
		srv := w.Server("db2")
		if !strings.HasSuffix(machine.Changed[0], " "+srv.MachineID) ||
			!strings.HasSuffix(volume.Changed[0], " "+volumeOf(t, w, "db2").ProviderID) {
			t.Errorf("it would remove %q and %q of %+v", machine.Changed, volume.Changed, srv)
		}
		w.CheckCleanup(t, p, j.ID)
	})
}

func TestCleanupIsPlannedOfJobsThatLeftSomething(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, succeeded := withReplica(t)
		verified := p.Must(verification{Replica: "db2"})
		idle := w.Cancelled(verification{Replica: "db2"})
		p.Stop()
		active := w.Start().Ask(primary{Server: "db4"})
		for name, id := range map[string]string{"one that succeeded": succeeded.ID,
			"one of a kind without": verified.ID, "one of a kind without, cancelled": idle.ID,
			"one that is to run": active.ID} {
			_, err := p.Flow.PlanCleanup(t.Context(), id)
			if errs.ReasonOf(err) != errorsv1.Reason_REASON_JOB_WRONG_STATE ||
				errs.HintOf(err).Empty() {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// An image that no machine can be made from ends the plan, with the provider's own words.
func TestPlanRefusesAnImageWithAProblem(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := workflowtest.NewWorld(t)
		w.Cloud.Images[0].Problem = "it has two data volumes"
		_, err := w.Start().Flow.DryRun(t.Context(), kit.Request{Args: provision.Args{
			ServerArgs: kit.ServerArgs{Server: "db9", Image: w.Cloud.Images[0].Name}}})
		if err == nil || !strings.Contains(err.Error(), "it has two data volumes") {
			t.Errorf("the plan says %v", err)
		}
	})
}
