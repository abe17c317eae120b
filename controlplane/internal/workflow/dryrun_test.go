package workflow_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/workflow"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

func TestPlanLooksAndChangesNothing(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	mark := w.mark()
	for _, ask := range []workflow.Ask{
		{Kind: workflow.KindCreateReplica, Args: replicaArgs},
		{Kind: workflow.KindCreatePrimary, Args: workflow.Args{Server: "db9"}},
		{Kind: workflow.KindTakeSnapshot, Args: workflow.Args{Source: "db1"}},
		{Kind: workflow.KindDeleteServer, Args: workflow.Args{Server: "db1"}},
	} {
		j, err := p.flow.Plan(t.Context(), ask)
		if err != nil {
			t.Fatal(ask.Kind, err)
		}
		if j.ID != "" || len(j.Steps) == 0 {
			t.Errorf("%+v", j)
		}
		t.Logf("%s\n%s", j.Title, states(j))
	}
	if changes := w.changes(mark); len(changes) > 0 {
		t.Errorf("the plan made changes: %v", changes)
	}
}

// TestPlanSaysWhatWillBe reads the two steps whose work depends on what is found.
func TestPlanSaysWhatWillBe(t *testing.T) {
	t.Parallel()
	_, p := lab(t)
	for level, want := range map[workflow.Verify]string{workflow.VerifyPosition: "no data is compared",
		workflow.VerifySample: "some tables", workflow.VerifyFull: "all tables"} {
		args := replicaArgs
		args.Verify = level
		j, err := p.flow.Plan(t.Context(), workflow.Ask{Kind: workflow.KindCreateReplica,
			Args: args})
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
			t.Errorf("both are of one series, and the upgrade found %q and would %q", upgrade.Found,
				upgrade.Changed)
		}
	}
}

func TestPlanRefusesWhatTheJobWouldRefuse(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	j := p.must(workflow.KindTakeSnapshot, workflow.Args{Source: "db1"})
	taken, _ := workflow.ArgsOf(j)
	from := func(a workflow.Args) workflow.Ask {
		if a.Server == "" {
			a.Server = "db2"
		}
		if a.Snapshot == "" {
			a.Snapshot = taken.Snapshot
		}
		return workflow.Ask{Kind: workflow.KindCreateReplica, Args: a}
	}
	cases := map[string]struct {
		ask   workflow.Ask
		says  string
		plant func()
	}{
		"a name that is taken": {ask: from(workflow.Args{Server: "db1", Source: "db1"}),
			says: "own replica"},
		"a smaller volume": {ask: from(workflow.Args{VolumeBytes: 1 << 30}),
			says: "smaller"},
		"no such image": {ask: from(workflow.Args{Image: "woody"}), says: "woody"},
		"an older image": {ask: from(workflow.Args{Image: "bookworm"}),
			says: "never goes back"},
		"another zone":     {ask: from(workflow.Args{Zone: "moon"}), says: "moon"},
		"no such snapshot": {ask: from(workflow.Args{Snapshot: "snap-0"}), says: "snap-0"},
		"a level that is not there": {ask: from(workflow.Args{Verify: "maybe"}),
			says: "fence, sample or full"},
		"purged binary logs": {ask: from(workflow.Args{}), says: "purged", plant: func() {
			w.hosts["db1"].running.disk.data.oldest = 1000
		}},
		"a primary that is down": {ask: from(workflow.Args{}), says: "does not answer",
			plant: func() { w.hosts["db1"].down = true }},
	}
	for _, name := range []string{"a name that is taken", "a smaller volume", "no such image",
		"an older image", "another zone", "no such snapshot",
		"a level that is not there", "purged binary logs", "a primary that is down"} {
		c := cases[name]
		if c.plant != nil {
			w.mu.Lock()
			c.plant()
			w.mu.Unlock()
		}
		_, err := p.flow.Plan(t.Context(), c.ask)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRegionalSnapshotServesEveryZone(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	w.mu.Lock()
	w.cloud.regional = true
	w.mu.Unlock()
	taken, _ := workflow.ArgsOf(p.must(workflow.KindTakeSnapshot, workflow.Args{Source: "db1"}))
	ask := workflow.Args{Server: "db2", Snapshot: taken.Snapshot, Zone: "moon"}
	if _, err := p.flow.Plan(t.Context(), workflow.Ask{Kind: workflow.KindCreateReplica,
		Args: ask}); err != nil {
		t.Error(err)
	}
}

func TestRepeatedRequestIsTheSame(t *testing.T) {
	t.Parallel()
	_, p := lab(t)
	ask := workflow.Ask{Kind: workflow.KindCreateReplica, Args: replicaArgs,
		RequestID: "11111111-2222-3333-4444-555555555555", Who: "tester"}
	create := func() (string, error) {
		req, err := p.flow.Request(t.Context(), ask)
		if err != nil {
			return "", err
		}
		j, err := p.engine.Create(t.Context(), req)
		return j.ID, err
	}
	first, err := create()
	if err != nil {
		t.Fatal(err)
	}
	succeeded(t, p.end(first))
	if again, err := create(); err != nil || again != first {
		t.Errorf("%s, %v", again, err)
	}
	ask.Args.Server = "Bad Name"
	if _, err := create(); errs.KindOf(err) != errs.InvalidArgument {
		t.Errorf("a bad name: %v", err)
	}
}
