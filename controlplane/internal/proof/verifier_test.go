package proof

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// fleet is the agents of a test: those of one primary hang.
type fleet struct {
	hangs string
	asked chan string
}

func (f fleet) Agent(ctx context.Context, server string) (kit.Agent, error) {
	if server == f.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case f.asked <- server:
	default:
	}
	return nil, errors.New("out of reach")
}

// idle has no jobs.
type idle struct{}

func (idle) List(context.Context, job.Filter) ([]job.Job, string, error) { return nil, "", nil }

func verifier(t *testing.T, agents kit.Agents, servers ...inventory.Server) *Verifier {
	t.Helper()
	st := storetest.New(t)
	if err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for _, s := range servers {
			if err := tx.Servers().Insert(ctx, &s); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return New(Config{Store: st, Agents: agents, Jobs: idle{}, Share: 5, Interval: time.Hour,
		Log: slog.New(slog.DiscardHandler)})
}

func primaryOf(name string, state inventory.ServerState) inventory.Server {
	return inventory.Server{Name: name, State: state, Role: inventory.RolePrimary, ServerID: 1}
}

func replicaOf(name, primary string) inventory.Server {
	return inventory.Server{Name: name, State: inventory.ServerReady, Role: inventory.RoleReplica,
		Primary: primary, ServerID: 2, DataVolume: "v1", ReplicationConfigured: true}
}

// TestAgentThatHangsKeepsNobodyWaiting gives turns while one of them does not end.
func TestAgentThatHangsKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	agents := fleet{hangs: "db1", asked: make(chan string, 9)}
	v := verifier(t, agents, primaryOf("db1", inventory.ServerReady), replicaOf("db2", "db1"),
		primaryOf("db3", inventory.ServerReady), replicaOf("db4", "db3"),
		primaryOf("db5", inventory.ServerUnreachable), replicaOf("db6", "db5"))
	ctx, cancel := context.WithCancel(t.Context())
	defer v.ending.Wait()
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- v.round(ctx, ctx) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a round waits for an agent that hangs")
	}
	if server := <-agents.asked; server != "db3" {
		t.Errorf("asked %s", server)
	}
	if v.begins("db1") {
		t.Error("a second turn of a primary whose first one has not ended")
	}
	if c, _ := v.Coverage("db6"); c.Paused != "its primary db5 is UNREACHABLE" {
		t.Errorf("db6 pauses: %q", c.Paused)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.turns["db5"] {
		t.Error("a primary that is out of reach has a turn")
	}
}

// TestPausedIsOfNow has a replica that a job paused, and whose primary is out of reach then.
func TestPausedIsOfNow(t *testing.T) {
	t.Parallel()
	v := verifier(t, fleet{}, primaryOf("db1", inventory.ServerReady), replicaOf("db2", "db1"))
	paused := func(states ...inventory.ServerState) string {
		t.Helper()
		primary, replica := primaryOf("db1", states[0]), replicaOf("db2", "db1")
		replica.State = states[1]
		v.tellAway([]inventory.Server{primary, replica})
		c, _ := v.Coverage("db2")
		return c.Paused
	}
	v.replicas["db2"] = &replica{rec: Record{Paused: "a job works on it"}}
	const ready, away = inventory.ServerReady, inventory.ServerUnreachable
	if got := paused(away, ready); got != "its primary db1 is UNREACHABLE" {
		t.Errorf("primary away: %q", got)
	}
	if got := paused(ready, away); got != "db2 is UNREACHABLE" {
		t.Errorf("replica away: %q", got)
	}
	if got := paused(ready, ready); got != "a job works on it" {
		t.Errorf("both are back: %q", got)
	}
	v.tellAway([]inventory.Server{replicaOf("db2", "db1")})
	if c, _ := v.Coverage("db2"); c.Paused != "its primary db1 has no record" {
		t.Errorf("no primary: %q", c.Paused)
	}
}

// TestWhatDiffersOutlivesTheProcess finds a difference just after another save.
func TestWhatDiffersOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	v := verifier(t, fleet{}, primaryOf("db1", inventory.ServerReady), replicaOf("db2", "db1"))
	if _, known := v.Differs("db2", "v1"); known {
		t.Error("known before it was read")
	}
	if _, err := v.servers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if different, known := v.Differs("db2", "v1"); !known || len(different.Found) > 0 {
		t.Errorf("differs %v, known %v", different, known)
	}
	found := Record{Primary: "db1", Volume: "v1", Tables: map[string]Proof{"a.t": {
		Different: []Difference{{Primary: "1 rows", Replica: "0 rows"}}}}}
	r := v.replicas["db2"]
	v.keep("db2", r, &work{rec: &found})
	if err := v.save(t.Context(), "db2", r); err != nil {
		t.Fatal(err)
	}
	next := New(v.cfg)
	if _, err := next.servers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if different, known := next.Differs("db2", "v1"); !known || len(different.Found) != 1 {
		t.Errorf("after a restart it differs %v, known %v", different, known)
	}
	if different, known := next.Differs("db2", "v2"); !known || len(different.Found) > 0 {
		t.Errorf("on another volume it differs %v, known %v", different, known)
	}
}

func TestServersThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	v := verifier(t, fleet{}, primaryOf("db1", inventory.ServerReady), replicaOf("db2", "db1"))
	for _, when := range []string{"after a start", "later"} {
		if err := v.cfg.Store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.Proofs().Put(ctx, "db2", "{}"),
				tx.Proofs().Put(ctx, "gone", "{}"))
		}); err != nil {
			t.Fatal(err)
		}
		if when == "later" {
			v.replicas["gone"], v.rests["gone"] = &replica{}, time.Now()
		}
		if _, err := v.servers(t.Context()); err != nil {
			t.Fatal(err)
		}
		var kept []string
		if err := v.cfg.Store.Read(t.Context(), func(ctx context.Context,
			tx *store.Tx) (err error) {
			kept, err = tx.Proofs().Servers(ctx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if len(kept) != 1 || len(v.replicas) != 1 || len(v.rests) > 0 {
			t.Errorf("%s: kept %v, %v, %v", when, kept, v.replicas, v.rests)
		}
	}
}

// TestAProofOfAllDataEndsADifference that was found before it began, and no other.
func TestAProofOfAllDataEndsADifference(t *testing.T) {
	t.Parallel()
	found := time.Now()
	for name, c := range map[string]struct {
		proof inventory.Verification
		ends  bool
	}{
		"of all data": {inventory.Verification{Level: inventory.VerifyFull}, true},
		"of a sample": {inventory.Verification{Level: inventory.VerifySample}, false},
		"that left a table": {inventory.Verification{Level: inventory.VerifyFull, Open: 1},
			false},
		"that began before it": {inventory.Verification{Level: inventory.VerifyFull}, false},
	} {
		replica := replicaOf("db2", "db1")
		began := found.Add(time.Second)
		if name == "that began before it" {
			began = found.Add(-time.Second)
		}
		replica.ProveData(c.proof, began)
		v := verifier(t, fleet{}, primaryOf("db1", inventory.ServerReady), replica)
		if _, err := v.servers(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := &work{rec: &Record{Primary: "db1", Volume: "v1", Tables: map[string]Proof{},
			Objects: []string{"view a.v"}, ObjectsSeen: found},
			now: func() time.Time { return found }}
		w.differs(kit.RowSum{Rows: 1}, "0 rows")
		w.rec.finish("a.t", 1, "")
		w.differs(kit.RowSum{Rows: 1}, "0 rows")
		v.keep("db2", v.replicas["db2"], w)
		if _, err := v.servers(t.Context()); err != nil {
			t.Fatal(err)
		}
		different, _ := v.Differs("db2", "v1")
		under := len(v.replicas["db2"].rec.Pass.Different)
		if ended := len(different.Found)+under == 0; ended != c.ends || !ended &&
			len(different.Found) != 2 {
			t.Errorf("%s: %v, %d in the pass", name, different, under)
		}
	}
}

// TestWhatHelpsOutlivesTheProcess has a difference that a fresh copy would have again, then one of
// rows beside it. A record of an earlier version does not say what helps.
func TestWhatHelpsOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	v := verifier(t, fleet{}, primaryOf("db1", inventory.ServerReady), replicaOf("db2", "db1"))
	if _, err := v.servers(t.Context()); err != nil {
		t.Fatal(err)
	}
	row := map[string]Proof{"a.t": {Different: []Difference{{Primary: "1 rows"}}}}
	zones := []replication.Remedy{replication.RemedyZones}
	for name, c := range map[string]struct {
		found Record
		want  []replication.Remedy
	}{
		"zones": {Record{Objects: []string{"time zones"}, Remedies: zones}, zones},
		"zones and rows": {Record{Objects: []string{"time zones"}, Remedies: zones, Tables: row},
			[]replication.Remedy{replication.RemedyZones, replication.RemedyRebuild}},
		"an earlier version's": {Record{Objects: []string{"time zones"}}, nil},
	} {
		c.found.Primary, c.found.Volume = "db1", "v1"
		v.keep("db2", v.replicas["db2"], &work{rec: &c.found})
		v.replicas["db2"].unsaved = true
		if err := v.save(t.Context(), "db2", v.replicas["db2"]); err != nil {
			t.Fatal(err)
		}
		next := New(v.cfg)
		if _, err := next.servers(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := next.Differs("db2", "v1"); !slices.Equal(got.Remedies, c.want) {
			t.Errorf("%s: %v helps", name, got.Remedies)
		}
	}
}
