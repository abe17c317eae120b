package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

// Each agent is told once, one that is away when it is back, and all again after a move.
func TestAgentsAreToldTheAddresses(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	st := storetest.New(t)
	err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		var all []error
		for _, name := range []string{"db1", "db2", "new"} {
			srv := inventory.Server{Name: name, State: inventory.ServerReady,
				Role: inventory.RolePrimary, Address: "10.0.0.5", AgentIdentity: "agent/" + name}
			if name == "new" {
				srv.AgentIdentity = ""
			}
			all = append(all, tx.Servers().Insert(ctx, &srv))
		}
		return errors.Join(all...)
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var told []string
	away := "db2"
	announcer := func(addresses ...string) *Announcer {
		return NewAnnouncer(AnnouncerConfig{Store: st, Addresses: addresses, Log: quiet,
			Announce: func(_ context.Context, server string, addresses []string) error {
				mu.Lock()
				defer mu.Unlock()
				if server == away {
					return errors.New("away")
				}
				told = append(told, server+" "+addresses[0])
				return nil
			}})
	}
	round := func(a *Announcer, want ...string) {
		t.Helper()
		told = nil
		if err := a.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if slices.Sort(told); !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	}
	stale := func(a *Announcer) (names []string) {
		err := st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			all, err := tx.Servers().All(ctx)
			for _, srv := range all {
				if a.Stale(srv) {
					names = append(names, srv.Name)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	first := announcer("10.0.0.10:7440")
	round(first, "db1 10.0.0.10:7440")
	round(first)
	if got := stale(first); !slices.Equal(got, []string{"db2"}) {
		t.Errorf("with an old address: %v", got)
	}
	away = ""
	round(first, "db2 10.0.0.10:7440")
	moved := announcer("10.0.0.11:7440")
	round(moved, "db1 10.0.0.11:7440", "db2 10.0.0.11:7440")
	if got := stale(moved); len(got) > 0 {
		t.Errorf("with an old address: %v", got)
	}
	round(announcer()) // a control plane that knows no address has nothing to say
}
