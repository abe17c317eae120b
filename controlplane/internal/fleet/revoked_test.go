package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

// What a replica reads of its primary ends with its agent, once, and as soon as the primary
// answers: not again, by a record of a moment ago, when it may have another account.
func TestARevokedReplicaReadsItsPrimaryNoLonger(t *testing.T) {
	t.Parallel()
	st := storetest.New(t)
	at := time.Now().UTC().Truncate(time.Second)
	err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		var all []error
		for _, srv := range []inventory.Server{
			{Name: "db1", Role: inventory.RolePrimary},
			{Name: "db2", Role: inventory.RoleReplica, Primary: "db1", AccessRevoked: at},
			{Name: "db3", Role: inventory.RoleReplica, Primary: "db1"},
			{Name: "db4", Role: inventory.RoleReplica, Primary: "gone", AccessRevoked: at},
		} {
			srv.State = inventory.ServerReady
			all = append(all, tx.Servers().Insert(ctx, &srv))
		}
		return errors.Join(all...)
	})
	if err != nil {
		t.Fatal(err)
	}
	servers := func() (all []inventory.Server) {
		err := st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
			all, err = tx.Servers().All(ctx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	var ended []string
	away := true
	stale := servers()
	ender := NewAccessEnder(AccessEnderConfig{Store: st,
		Servers: func() []inventory.Server { return stale },
		Log:     slog.New(slog.DiscardHandler),
		End: func(_ context.Context, primary, replica string) error {
			if away {
				return errors.New("away")
			}
			ended = append(ended, replica+" on "+primary)
			return nil
		}})
	left := func(want ...string) {
		t.Helper()
		if err := ender.Round(t.Context()); (err != nil) != away {
			t.Fatal(err)
		}
		var open []string
		for _, srv := range servers() {
			if !srv.AccessRevoked.IsZero() {
				open = append(open, srv.Name)
			}
		}
		if slices.Sort(open); !slices.Equal(open, want) {
			t.Errorf("still to be ended: %v, want %v", open, want)
		}
	}
	left("db2")
	away = false
	left()
	left()
	if !slices.Equal(ended, []string{"db2 on db1"}) {
		t.Errorf("ended %v", ended)
	}
}
