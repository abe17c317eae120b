package app_test

import (
	"strings"
	"testing"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestREADYIsUnknownAfterAStart wherever it is shown, until the agent was heard.
func TestREADYIsUnknownAfterAStart(t *testing.T) {
	t.Parallel()
	dir, w := t.TempDir(), stillWorld(t)
	p := startPlane(t, dir, w)
	p.addServer("db1", "")
	p.addServer("db2", "db1")
	events := func() int {
		answer, err := p.jobs().ListEvents(t.Context(), &cpv1.ListEventsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return len(answer.GetEvents())
	}
	before := events()
	p.Stop()
	p = startPlane(t, dir, w)

	one, err := p.servers().GetServer(t.Context(), &cpv1.GetServerRequest{Name: "servers/db2"})
	if got := one.GetServer(); err != nil || got.GetState() != cpv1.Server_STATE_UNKNOWN ||
		!strings.HasPrefix(got.GetStateReason(), "READY on record; ") {
		t.Errorf("%v, %v", got, err)
	}
	for state, names := range map[cpv1.Server_State][]string{
		cpv1.Server_STATE_READY: nil, cpv1.Server_STATE_UNKNOWN: {"db1", "db2"}} {
		answer, err := p.servers().ListServers(t.Context(),
			&cpv1.ListServersRequest{States: []cpv1.Server_State{state}})
		want(t, state.String(), answer.GetServers(), err, names...)
		// An empty page is none: the list ends.
		answer, err = p.servers().ListServers(t.Context(), &cpv1.ListServersRequest{PageSize: 1,
			States: []cpv1.Server_State{state}})
		if err != nil || len(answer.GetServers()) != min(1, len(names)) ||
			(answer.GetNextPageToken() != "") != (len(names) > 1) {
			t.Errorf("a page of %s: %v, %v", state, answer, err)
		}
	}
	all, err := p.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, family := range all {
		if family.GetName() != "understudy_server_state" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "state" && label.GetValue() == "UNKNOWN" &&
					m.GetGauge().GetValue() == 1 {
					shown++
				}
			}
		}
	}
	if shown != 2 {
		t.Errorf("%d servers are UNKNOWN in the metrics", shown)
	}
	if after := events(); after != before {
		t.Errorf("%d events before the start, %d after it", before, after)
	}
}
