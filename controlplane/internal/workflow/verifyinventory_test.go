package workflow_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// TestEveryLevelComparesTheInventory plants differences that no level of data would find.
func TestEveryLevelComparesTheInventory(t *testing.T) {
	t.Parallel()
	view := kit.Object{Kind: "view", Name: "shop.v", Digest: "1"}
	with := func(change func(*kit.Object)) *kit.Object {
		o := view
		change(&o)
		return &o
	}
	linked := kit.Object{Kind: "linked server", Name: "s", Digest: "1"}
	cases := map[string]struct {
		primary, replica *kit.Object
		says             string // empty: no difference
	}{
		"equal":       {&view, &view, ""},
		"missing":     {&view, nil, "on the primary alone"},
		"not dropped": {nil, &view, "on the replica alone"},
		"not altered": {&view, with(func(o *kit.Object) { o.Digest = "2" }), "another way"},
		"cannot be read": {&view, with(func(o *kit.Object) { o.Problem = "error 194" }),
			"error 194"},
		"a sequence": {with(func(o *kit.Object) { o.Value = "7" }),
			with(func(o *kit.Object) { o.Value = "8" }), "7 on the primary, 8 on the replica"},
		"locked on the replica": {&view, with(func(o *kit.Object) { o.Busy = true }), ""},
		"broken on both sides": {with(func(o *kit.Object) { o.Problem = "error 1356" }),
			with(func(o *kit.Object) { o.Problem = "error 194" }), ""},
		"broken on the primary alone": {with(func(o *kit.Object) { o.Problem = "1" }), &view,
			"cannot be opened on the primary"},
		"lawful": {&linked, nil, ""},
	}
	for name, c := range cases {
		bubbles(t, name, func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			for server, o := range map[string]*kit.Object{"db1": c.primary, "db2": c.replica} {
				if o != nil {
					w.Hosts[server].Running.Disk.Data.Objects["planted"] = *o
				}
			}
			w.Mu.Unlock()
			j := p.End(p.Ask(verification{Replica: "db2",
				Level: inventory.VerifyPosition}).ID)
			s, _ := j.Step("verify")
			if c.says == "" {
				succeeded(t, j)
				return
			}
			if j.State != job.Failed || s.Failure == nil || s.Failure.Reason != "DATA_MISMATCH" ||
				!strings.Contains(s.Failure.Message, "view shop.v (") ||
				!strings.Contains(s.Failure.Message, c.says) {
				t.Errorf("job is %s: %+v\n%s", j.State, s.Failure, states(j))
			}
			if got := w.Server("db2").Verified; got != (inventory.Verification{}) {
				t.Errorf("it counts as verified still: %+v", got)
			}
			if got, is := w.Server("db2").UnprovedData(); !is ||
				got.Level != inventory.VerifyPosition {
				t.Errorf("what was found is on record as %+v", got)
			}
		})
	}
}

// TestInventoryIsReadAgainWhenItChanged changes an object between the two readings.
func TestInventoryIsReadAgainWhenItChanged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := again(t)
		p.Behind["Inventory"] = func() { // the first time
			w.Mu.Lock()
			defer w.Mu.Unlock()
			for _, server := range []string{"db1", "db2"} {
				w.Hosts[server].Running.Disk.Data.Objects["new"] = kit.Object{Kind: "view",
					Name: "shop.new", Digest: "1"}
			}
		}
		p.Run()
		j := p.Must(verification{Replica: "db2"})
		s, _ := j.Step("verify")
		if said := strings.Join(s.Found, "\n"); !strings.Contains(said, "1 objects differ") {
			t.Errorf("it found %s", said)
		}
	})
}
