package fleet

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// A connection to a server that is gone is closed, though a job was the last to speak to it.
func TestConnectionsToServersThatAreGoneAreClosed(t *testing.T) {
	t.Parallel()
	closed := map[string]int{}
	m := NewMonitor(MonitorConfig{Forget: func(name string) { closed[name]++ }})
	look := func(known map[string]inventory.Server, due ...string) {
		var seen []observation
		for _, name := range due {
			seen = append(seen, observation{server: known[name]})
		}
		m.forget(seen, known)
	}
	in := func(state inventory.ServerState) inventory.Server {
		return inventory.Server{Name: "db1", State: state}
	}
	look(map[string]inventory.Server{"db1": in(inventory.ServerReady)}, "db1")
	look(map[string]inventory.Server{"db1": in(inventory.ServerDeleting)})
	if len(closed) != 0 {
		t.Errorf("closed: %v", closed)
	}
	look(map[string]inventory.Server{"db1": in(inventory.ServerDeleted)})
	if closed["db1"] == 0 {
		t.Error("the connection of a server that was deleted stays open")
	}
}
