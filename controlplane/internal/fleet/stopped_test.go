package fleet

import (
	"errors"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

func TestWhatIsStoppedOnPurposeIsNoAlarm(t *testing.T) {
	t.Parallel()
	const stopped = inventory.ServerStopped
	cfg := MonitorConfig{DegradedAfter: 10 * time.Second}
	for _, test := range []struct {
		state   inventory.ServerState
		facts   facts
		want    inventory.ServerState
		decided bool
	}{
		{inventory.ServerStopping, facts{}, inventory.ServerStopping, false},
		{inventory.ServerStopping, facts{silent: true}, inventory.ServerStopping, false},
		{stopped, facts{silent: true}, stopped, false},
		{stopped, facts{unknown: true}, stopped, false},
		{stopped, facts{unsettled: true}, inventory.ServerReady, true},
		{stopped, facts{ill: true, illFor: time.Minute}, inventory.ServerDegraded, true},
	} {
		if got := decide(cfg, test.state, test.facts); got.decided != test.decided ||
			got.state != test.want {
			t.Errorf("%s, %+v: %+v", test.state, test.facts, got)
		}
	}
}

// TestAStoppedServerStaysSoUntilItsAgentAnswers: db1 shows that its own silence would have counted.
func TestAStoppedServerStaysSoUntilItsAgentAnswers(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.agents.fail("off", errors.New("no route"))
	w.agents.fail("db1", errors.New("no route"))
	w.add("off", inventory.ServerStopped)
	w.add("db1", inventory.ServerReady)
	w.await("db1", inventory.ServerUnreachable, "no route")
	if s := w.get("off"); s.State != inventory.ServerStopped || len(s.Findings) > 0 {
		t.Errorf("a server that was stopped on purpose is %s: %+v", s.State, s.Findings)
	}
	w.agents.fail("off", nil) // somebody has switched it on
	w.await("off", inventory.ServerReady, "")
}
