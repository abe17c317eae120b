package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
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
			why := ender.Open(srv.Name)
			if (why != "") != slices.Contains(want, srv.Name) || why != "" &&
				!strings.Contains(why, "away") {
				t.Errorf("%s can read its primary because: %q", srv.Name, why)
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

// The record says that a replica can read its primary still, and why, for as long as that is so:
// while its agent is out of reach, as a revoked one is, and when it has joined again.
func TestTheRecordSaysThatAccessIsOpen(t *testing.T) {
	t.Parallel()
	var why atomic.Pointer[string]
	say := func(text string) { why.Store(&text) }
	say("")
	w := watch(t, func(c *MonitorConfig) {
		c.AccessOpen = func(string) string { return *why.Load() }
		c.Account = func(server string) string { return "us_" + server }
	})
	w.add("db1", inventory.ServerReady)
	w.add("db2", inventory.ServerReady, func(s *inventory.Server) {
		s.Role, s.Primary, s.AccessRevoked = inventory.RoleReplica, "db1", time.Now()
	})
	open := func(want bool) inventory.Finding {
		t.Helper()
		var found inventory.Finding
		deadline := time.Now().Add(time.Minute)
		for {
			srv := w.get("db2")
			at := slices.IndexFunc(srv.Findings, func(f inventory.Finding) bool {
				return f.Code == string(replication.AccessOpen)
			})
			if at >= 0 {
				found = srv.Findings[at]
			}
			if at >= 0 == want && len(srv.Findings) > 0 {
				return found
			}
			if time.Now().After(deadline) {
				t.Fatalf("the finding is there: %v, not %v: %+v", at >= 0, want, srv)
			}
			time.Sleep(testBeat)
		}
	}
	w.agents.fail("db2", errors.New("revoked"))
	w.await("db2", inventory.ServerUnreachable, "revoked")
	open(false)
	say("the agent of db1 is away")
	f := open(true)
	for _, word := range []string{"can read db1 still", "the agent of db1 is away"} {
		if !strings.Contains(f.Text, word) {
			t.Errorf("%q does not say %q", f.Text, word)
		}
	}
	if !strings.Contains(f.Hint.Text, "us_db2") || len(f.Hint.Actions) == 0 {
		t.Errorf("hint %+v", f.Hint)
	}
	say("") // a control plane that was started again, and has not tried yet
	w.agents.fail("db2", nil)
	w.await("db2", inventory.ServerDegraded, "")
	open(true)
	w.write(func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, "db2")
		if err != nil {
			return err
		}
		srv.AccessRevoked = time.Time{}
		return tx.Servers().Update(ctx, &srv)
	})
	open(false)
}
