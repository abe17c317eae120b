package trail_test

import (
	"strings"
	"testing"
	"time"
)

func TestAgentsChainsArePruned(t *testing.T) {
	t.Parallel()
	from := newAgents("servers/db1/000000000000000a")
	w, f := fetching(t, from)
	w.ago, from.ago = 1000*time.Hour, 2000*time.Hour
	from.append(t, 200)
	from.ago = 0
	from.append(t, 100)
	round(t, f)
	removed, err := w.Prune(t.Context(), time.Now().Add(-1500*time.Hour))
	if err != nil || removed != 200 || len(w.problems()) > 0 {
		t.Errorf("pruned %d, %v, %v", removed, w.problems(), err)
	}
	// Once the control plane's own chain is pruned up to that, it says it again.
	w.ago = 0
	w.append(2, time.Now())
	for range 2 {
		if _, err := w.Prune(t.Context(), time.Now().Add(-900*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.problems(); len(got) > 0 || w.verify().First < 100 {
		t.Errorf("found %q, the first one left is %d", got, w.verify().First)
	}
	// A beginning that somebody removed is not what was pruned.
	w.exec("DELETE FROM audit_records WHERE chain <> 'controlplane' AND seq <= 210")
	if _, err := w.Prune(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := w.problems(); len(got) == 0 || !strings.Contains(got[0], "to 210 are missing") {
		t.Errorf("found %q", got)
	}
}

// Whoever can write to the store does not get the control plane to remove more than is old, nor to
// say that what is missing was pruned.
func TestPruningTrustsNoColumn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ attack, own, agents string }{
		"young records are filed as old": {attack: "UPDATE audit_records SET at = 0"},
		"the beginning is gone": {attack: "DELETE FROM audit_records WHERE seq <= 10",
			own: "1 to 10 are missing", agents: "1 to 10 are missing"},
		"some in the middle are gone": {attack: "DELETE FROM audit_records WHERE seq BETWEEN 5 " +
			"AND 6", own: "5 to 6 are missing", agents: "5 to 6 are missing"},
		"what says that it was pruned was made up": {attack: "DELETE FROM audit_records WHERE " +
			"seq <= 10; UPDATE audit_records SET kind = 'pruned', who = chain WHERE seq = 20",
			own: "1 to 10 are missing", agents: "1 to 10 are missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := newAgents("servers/db1/000000000000000a")
			w, f := fetching(t, from)
			before := time.Now().Add(-time.Hour)
			if w.ago = 1000 * time.Hour; test.own == "" { // none of them is old
				w.ago = 0
			}
			from.ago = w.ago
			from.append(t, 30)
			w.append(30, time.Now().Add(-w.ago))
			round(t, f)
			w.ago = 0
			w.append(2, time.Now())
			w.exec(test.attack)
			for range 2 {
				if _, err := w.Prune(t.Context(), before); err != nil {
					t.Fatal(err)
				}
			}
			var own, agents string
			for _, problem := range w.problems() {
				if strings.HasPrefix(problem, "controlplane") {
					own += problem
				} else {
					agents += problem
				}
			}
			if !strings.Contains(own, test.own) || !strings.Contains(agents, test.agents) {
				t.Errorf("found %q and %q", own, agents)
			}
			all, err := w.Verify(t.Context(), "")
			if err != nil || all[0].Count < 30 || all[1].Count < 4 {
				t.Errorf("%d and %d records are left, %v", all[0].Count, all[1].Count, err)
			}
			if !strings.Contains(w.log.String(), "level=ERROR") {
				t.Error("nothing in the log")
			}
		})
	}
}
