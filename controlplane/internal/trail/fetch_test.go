package trail_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/trail"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// agents have one chain, of db1.
type agents struct {
	mu     sync.Mutex
	chain  string
	lines  []string
	head   audit.Head
	kept   audit.Head // as the control plane said last
	acked  int64      // records up to it are removed
	asked  int
	atOnce int // lines of an answer
	ago    time.Duration
	err    error // its answer
}

func newAgents(chain string) *agents {
	return &agents{chain: chain, head: audit.Origin(chain), atOnce: 3}
}

func (a *agents) append(t *testing.T, n int) {
	t.Helper()
	for range n {
		line, head, err := audit.Link(a.head, audit.Record{Time: time.Now().Add(-a.ago),
			Kind: audit.Begin, Who: "spiffe://understudy/operator/ann", Method: "/a/B"})
		if err != nil {
			t.Fatal(err)
		}
		a.lines, a.head = append(a.lines, line.Text()), head
	}
}

// FetchAudit implements trail.Agents.
func (a *agents) FetchAudit(_ context.Context, _, _, chain string,
	kept audit.Head) (trail.Batch, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if chain == a.chain {
		a.kept = kept
	}
	if a.err != nil {
		return trail.Batch{}, a.err
	}
	batch := trail.Batch{Chain: a.chain, Head: a.head}
	for i, line := range a.lines {
		if int64(i) >= max(a.kept.Seq, a.acked) && len(batch.Lines) < a.atOnce {
			batch.Lines = append(batch.Lines, line)
		}
	}
	return batch, nil
}

// fetching is an audit that fetches from them.
func fetching(t *testing.T, from *agents) (*world, *trail.Fetcher) {
	t.Helper()
	w := newWorld(t)
	err := w.config.Store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx, &inventory.Server{Name: "db1", Address: "192.0.2.1",
			State: inventory.ServerReady, AgentIdentity: "spiffe://understudy/agent/db1"})
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, &trail.Fetcher{Trail: w.Trail, Agents: from}
}

func round(t *testing.T, f *trail.Fetcher) {
	t.Helper()
	if err := f.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// problems are all that is found, with the chain's name.
func (w *world) problems() (all []string) {
	w.t.Helper()
	found, err := w.Verify(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, chain := range found {
		for _, p := range chain.Problems {
			all = append(all, fmt.Sprintf("%s %d: %s", chain.Chain, p.Seq, p.Text))
		}
	}
	return all
}

func TestAgentsRecordsAreKeptOnce(t *testing.T) {
	t.Parallel()
	from := newAgents("servers/db1/000000000000000a")
	w, f := fetching(t, from)
	from.append(t, 8)
	round(t, f)
	if from.kept.Seq != 8 || from.kept != from.head {
		t.Errorf("acknowledged %v of %v", from.kept, from.head)
	}
	from.append(t, 2)
	again := &trail.Fetcher{Trail: w.Trail, Agents: from} // a control plane that was restarted
	from.kept = audit.Head{Seq: 5}                        // and an agent that did not hear of all
	round(t, again)
	all, err := w.Verify(t.Context(), "")
	if err != nil || len(all) != 2 || all[1].Count != 10 || all[1].Head != from.head ||
		len(w.problems()) > 0 {
		t.Errorf("kept %+v, %v, %v", all, w.problems(), err)
	}
}

// The last records of an agent are fetched when its server goes; it is an error when they are not.
func TestTheLastRecordsOfAServer(t *testing.T) {
	t.Parallel()
	from := newAgents("servers/db1/000000000000000a")
	w, f := fetching(t, from)
	from.append(t, 8)
	if err := f.Last(t.Context(), "db1"); err != nil {
		t.Fatal(err)
	}
	if all, err := w.Verify(t.Context(), ""); err != nil || len(all) != 2 ||
		all[1].Head != from.head {
		t.Errorf("kept %+v, %v", all, err)
	}
	from.err = errs.Unavailable
	if err := f.Last(t.Context(), "db1"); err == nil {
		t.Error("nothing is said of records that may be missing")
	}
}

// raced are agents from which another control plane fetches just before this one is answered.
type raced struct {
	*agents
	before func()
}

// FetchAudit implements trail.Agents.
func (r *raced) FetchAudit(ctx context.Context, server, address, chain string,
	kept audit.Head) (trail.Batch, error) {
	if before := r.before; kept.Seq > 0 && before != nil {
		r.before = nil
		before()
	}
	return r.agents.FetchAudit(ctx, server, address, chain, kept)
}

// Two control planes on one store take turns, and what one fetched is no forgery to the other.
func TestTwoControlPlanesFetch(t *testing.T) {
	t.Parallel()
	from := newAgents("servers/db1/000000000000000a")
	w, one := fetching(t, from)
	from.append(t, 4)
	round(t, one)
	second, err := trail.New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	other := &trail.Fetcher{Trail: second, Agents: from}
	round(t, other)
	one.Agents = &raced{agents: from, before: func() {
		from.append(t, 3)
		round(t, other)
		from.acked = from.head.Seq // an agent that has removed what it was told is kept
	}}
	round(t, one)
	for _, plane := range []*trail.Fetcher{one, other} {
		if err := plane.Note(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if text := w.log.String(); strings.Contains(text, "audit verify") || len(w.problems()) > 0 {
		t.Errorf("%s\n%v", text, w.problems())
	}
}

func TestAttacksOnAnAgentsRecords(t *testing.T) {
	t.Parallel()
	const chain = "servers/db1/000000000000000a"
	other := func(t *testing.T, from *agents) { // a whole chain with other contents
		from.lines, from.head = nil, audit.Origin(chain)
		from.append(t, 12)
	}
	for name, test := range map[string]struct {
		before func(t *testing.T, from *agents)
		attack string
		want   string
	}{
		"rewritten before it was fetched": {before: func(_ *testing.T, from *agents) {
			from.lines[7] = strings.Replace(from.lines[7], "ann", "bob", 1)
		}, want: chain + " 8: it was changed"},
		"deleted before it was fetched": {before: func(_ *testing.T, from *agents) {
			from.lines[7] = from.lines[8]
		}, want: chain + " 8: records 8 to 8 are missing"},
		"another chain in its place": {before: other, want: chain + " 7: it does not follow"},
		"garbage": {before: func(_ *testing.T, from *agents) {
			from.lines[7] = "no JSON \x00"
		}, want: chain + " 8: it cannot be read"},
		"deleted in the store": {attack: "DELETE FROM audit_records WHERE chain = '" + chain +
			"' AND seq = 3", want: chain + " 3: records 3 to 3"},
		"rewritten in the store": {attack: "UPDATE audit_records SET body = REPLACE(body, 'ann', " +
			"'bob') WHERE chain = '" + chain + "' AND seq = 3", want: chain + " 3: it was changed"},
		"end cut off in the store": {attack: "DELETE FROM audit_records WHERE chain = '" + chain +
			"' AND seq > 4; UPDATE audit_heads SET seq = 4, hash = (SELECT hash FROM " +
			"audit_records WHERE chain = '" + chain + "' AND seq = 4) WHERE chain = '" + chain +
			"'", want: chain + " 5: the end was cut off"},
		"all deleted in the store": {attack: "DELETE FROM audit_records WHERE chain = '" + chain +
			"'; DELETE FROM audit_heads WHERE chain = '" + chain + "'",
			want: chain + " 1: the end was cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := newAgents(chain)
			w, f := fetching(t, from)
			from.append(t, 6)
			round(t, f)
			from.append(t, 4)
			if test.before != nil {
				test.before(t, from)
			}
			round(t, f)
			if test.attack != "" {
				w.exec(test.attack)
			}
			if got := w.problems(); len(got) == 0 || !strings.Contains(got[0], test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
			asked := from.asked
			if round(t, f); from.asked > asked+8 {
				t.Errorf("asked %d times in a round", from.asked-asked)
			}
		})
	}
}

// Each chain is verified by itself: a broken one leaves the others as they are.
func TestABrokenChainHidesNoOther(t *testing.T) {
	t.Parallel()
	broken, whole := "servers/db1/000000000000000a", "servers/db1/000000000000000b"
	from := newAgents(broken)
	w, f := fetching(t, from)
	from.append(t, 6)
	round(t, f)
	other := newAgents(whole)
	other.append(t, 4)
	f.Agents = other
	round(t, f)
	w.exec("DELETE FROM audit_records WHERE chain = '" + broken + "' AND seq = 3")
	for _, test := range []struct {
		asked         string
		noted         audit.Head
		chains, wrong []string
	}{
		{"", audit.Head{}, []string{trail.Chain, broken, whole}, []string{broken}},
		{trail.Chain, audit.Head{}, []string{trail.Chain}, nil},
		{broken, audit.Head{}, []string{trail.Chain, broken}, []string{broken}},
		{whole, other.head, []string{trail.Chain, whole}, nil},
		{whole, audit.Head{Seq: 2, Hash: "another"}, []string{trail.Chain, whole},
			[]string{whole}},
	} {
		all, err := w.Verify(t.Context(), test.asked, test.noted)
		if err != nil {
			t.Fatal(err)
		}
		var chains, wrong []string
		for _, c := range all {
			if chains = append(chains, c.Chain); len(c.Problems) > 0 {
				wrong = append(wrong, c.Chain)
			}
		}
		if !slices.Equal(chains, test.chains) || !slices.Equal(wrong, test.wrong) {
			t.Errorf("asked for %q with %v noted: read %v, wrong are %v", test.asked, test.noted,
				chains, wrong)
		}
	}
	w.exec("DELETE FROM audit_records WHERE chain = '" + whole + "'; DELETE FROM audit_heads " +
		"WHERE chain = '" + whole + "'")
	if all, err := w.Verify(t.Context(), whole); err != nil || len(all) != 2 ||
		len(all[1].Problems) == 0 {
		t.Errorf("one that was deleted, which the control plane had fetched: %+v, %v", all, err)
	}
	if _, err := w.Verify(t.Context(), "servers/db1/000000000000000c"); !errors.Is(err,
		errs.NotFound) {
		t.Errorf("one that never was: %v", err)
	}
}

// Another installation has another chain; the old one stays.
func TestAReinstalledAgent(t *testing.T) {
	t.Parallel()
	from := newAgents("servers/db1/000000000000000a")
	w, f := fetching(t, from)
	from.append(t, 3)
	round(t, f)
	fresh := newAgents("servers/db1/000000000000000b")
	fresh.append(t, 2)
	f.Agents = fresh
	round(t, f)
	all, err := w.Verify(t.Context(), "")
	if err != nil || len(all) != 3 || all[1].Count != 3 || all[2].Count != 2 ||
		len(w.problems()) > 0 {
		t.Errorf("%+v, %v", all, err)
	}
	f.Agents = newAgents("servers/db2/000000000000000c")
	f.Agents.(*agents).append(t, 1)
	round(t, f)
	if all, err := w.Verify(t.Context(), ""); err != nil || len(all) != 3 {
		t.Errorf("a chain of another server is kept: %+v, %v", all, err)
	}
}

// The log says once that an agent keeps its audit to itself, and once that it does not any more.
func TestAnAgentThatHandsOverNothing(t *testing.T) {
	t.Parallel()
	for _, answer := range []error{errs.Unavailable, errs.Unimplemented, errs.Internal} {
		from := newAgents(chainOfDB1)
		w, f := fetching(t, from)
		said := func() int { return strings.Count(w.log.String(), "level=WARN") }
		for i, want := range []int{0, 0, 0, 1, 1, 1, 1, 2, 2, 2} {
			if from.err = answer; i >= 7 {
				from.err = nil
			}
			if round(t, f); said() != want {
				t.Errorf("%v: said %d times after round %d, want %d", answer, said(), i, want)
			}
		}
		if !strings.Contains(w.log.String(), "server=db1") {
			t.Errorf("log %s", w.log)
		}
	}
}
