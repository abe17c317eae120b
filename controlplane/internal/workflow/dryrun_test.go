package workflow_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

func TestPlanLooksAndChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		mark := w.Mark()
		for _, ask := range []kit.Request{
			{Args: replicaArgs.Args()},
			{Args: primary{Server: "db9"}.Args()},
			{Args: snapshotOf{Source: "db1"}.Args()},
			{Args: deletion{Server: "db1"}.Args()},
		} {
			j, err := p.Flow.DryRun(t.Context(), ask)
			if err != nil {
				t.Fatal(ask.Args.Kind(), err)
			}
			if j.ID != "" || len(j.Steps) == 0 {
				t.Errorf("%+v", j)
			}
			t.Logf("%s\n%s", j.Title, states(j))
		}
		if changes := w.Changes(mark); len(changes) > 0 {
			t.Errorf("the plan made changes: %v", changes)
		}
	})
}

// TestPlanSaysWhatWillBe reads the two steps whose work depends on what is found.
func TestPlanSaysWhatWillBe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p := lab(t)
		for level, want := range map[inventory.VerifyLevel]string{
			inventory.VerifyPosition: "no data is compared",
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
		ask.Args = replica{Server: "Bad Name", Source: "db1"}.Args()
		if _, err := create(); errs.KindOf(err) != errs.InvalidArgument {
			t.Errorf("a bad name: %v", err)
		}
	})
}
