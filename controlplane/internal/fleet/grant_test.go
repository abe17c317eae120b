package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// granted are two agents, as a granter sees them.
type granted struct {
	mu      sync.Mutex
	list    ca.GrantList
	unread  error
	fails   error // of db2
	told    []string
	clocked bool // by the clocks of both hosts, which are ahead, every grant is over
}

// now changes what they do.
func (g *granted) now(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

func (g *granted) grants(sequence int64, all ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = ca.GrantList{Sequence: sequence}
	for _, id := range all {
		server, _, _ := strings.Cut(id, "/")
		g.list.Grants = append(g.list.Grants, inventory.AgentGrant{ID: id, Server: server})
	}
}

func (g *granted) tell(ctx context.Context, server string, list ca.GrantList) (ids []string,
	err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if server == "db2" && g.fails != nil {
		if errors.Is(g.fails, context.DeadlineExceeded) {
			<-ctx.Done()
		}
		return nil, g.fails
	}
	for _, grant := range list.Grants {
		ids = append(ids, grant.ID)
	}
	g.told = append(g.told, fmt.Sprintf("%s %d %v", server, list.Sequence, ids))
	if g.clocked {
		ids = nil
	}
	return ids, nil
}

func (g *granted) granter(log *slog.Logger) *Granter {
	return NewGranter(GranterConfig{Log: log, Tell: g.tell,
		List: func() (ca.GrantList, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.list, g.unread
		},
		Servers: func() []inventory.Server {
			return []inventory.Server{
				{Name: "db1", Address: "10.0.0.1", AgentIdentity: "a"},
				{Name: "db2", Address: "10.0.0.2", AgentIdentity: "a"}}
		}})
}

// An agent hears of what is granted on it: at once, when it is back, when it starts again; and of
// the end.
func TestAgentsAreToldOfGrants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder // written while the granter is locked
		g := &granted{}
		granter := g.granter(slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() { granter.Run(ctx, loop.NewSet(slog.New(slog.DiscardHandler))); close(ran) }()
		heard := func(what string, within time.Duration, want ...string) {
			t.Helper()
			time.Sleep(within)
			synctest.Wait()
			g.now(func() {
				slices.Sort(g.told)
				if !slices.Equal(g.told, want) {
					t.Errorf("%s: told %q, want %q", what, g.told, want)
				}
				g.told = nil
			})
		}
		const soon = 1100 * time.Millisecond
		heard("nothing was ever granted", time.Hour)
		g.grants(1, "db1/a")
		heard("the first grant", soon, "db1 1 [db1/a]", "db2 1 []")
		heard("at rest", 30*time.Second)
		g.grants(2, "db1/a", "db2/b")
		g.now(func() { g.fails = errors.New("away") })
		heard("on one that is away", soon)
		g.now(func() { g.fails = nil })
		heard("it is back", 3*time.Second, "db2 2 [db2/b]")
		granter.Forget("db1")
		heard("one has begun again", soon, "db1 2 [db1/a]")
		g.grants(3, "db2/b")
		heard("one is revoked", soon, "db1 3 []")
		g.now(func() { g.unread = errors.New("the store is gone") })
		granter.Forget("db1")
		heard("nobody knows what was revoked", time.Minute)
		g.now(func() { g.unread = nil })
		heard("it is known again", soon, "db1 3 []", "db2 3 [db2/b]")
		heard("an agent with a grant that was replaced unseen", 61*time.Second,
			"db2 3 [db2/b]")
		g.grants(4)
		g.now(func() { g.fails = errs.New(errs.Unimplemented, 0, "unknown method") })
		heard("one is too old", 2*time.Minute)
		if n := strings.Count(log.String(), "without a grant: it is too old"); n != 1 {
			t.Errorf("the log tells %d times that an agent is too old:\n%s", n, &log)
		}
		g.now(func() { g.fails = nil })
		heard("it was upgraded", time.Minute, "db2 4 []")
		g.grants(5, "db2/c")
		g.now(func() {
			g.fails = errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_SUPERSEDED,
				"list 5 is over")
		})
		heard("another control plane has told it more", time.Minute)
		if n := strings.Count(log.String(), "another control plane tells an agent"); n != 1 {
			t.Errorf("the log tells %d times of another control plane:\n%s", n, &log)
		}
		cancel()
		<-ran
	})
}

func TestAGrantSaysWhyItIsNotDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &granted{}
		granter := g.granter(slog.New(slog.DiscardHandler))
		g.grants(1, "db2/b")
		grant := g.list.Grants[0]
		grant.Created, grant.Expires = time.Now(), time.Now().Add(time.Hour)
		says := func(what string, grant inventory.AgentGrant, want string) {
			t.Helper()
			why := granter.Deliver(t.Context(), grant)
			if (why == "") != (want == "") || !strings.Contains(why, want) {
				t.Errorf("%s: %q, want %q", what, why, want)
			}
		}
		says("it is there", grant, "")
		g.now(func() { g.clocked = true })
		says("the host's clock is ahead", grant, "clock of its host")
		g.now(func() { g.clocked = false })
		g.now(func() { g.fails = errs.New(errs.Unimplemented, 0, "unknown method") })
		says("an old agent", grant, "too old for grants")
		g.now(func() { g.fails = context.DeadlineExceeded })
		says("an agent that hangs", grant, "did not answer within 5s")
		g.now(func() { g.fails = errors.New("it is away") })
		says("an agent that is away", grant, "it is away")
		g.now(func() { g.fails, g.unread = nil, errors.New("the store is gone") })
		says("nothing is known", grant, "the store is gone")
		g.now(func() { g.unread = nil })
		g.grants(2)
		grant.RevokedAt = time.Now()
		says("it is revoked", grant, "")
		grant.RevokedAt, grant.Expires = time.Time{}, time.Now()
		says("it is over", grant, "")
	})
}

// An agent that was told of a grant between two rounds, and not of its revocation, hears of that.
func TestARevocationBetweenTwoRoundsIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &granted{}
		granter := g.granter(slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() { granter.Run(ctx, loop.NewSet(slog.New(slog.DiscardHandler))); close(ran) }()
		g.grants(1)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait() // both were told that nobody has a grant
		g.grants(2, "db2/b")
		grant := g.list.Grants[0]
		if why := granter.Deliver(ctx, grant); why != "" {
			t.Error(why)
		}
		g.grants(3)
		grant.RevokedAt = time.Now()
		g.now(func() { g.fails = errors.New("a lost packet") })
		if why := granter.Deliver(ctx, grant); why == "" {
			t.Error("delivered")
		}
		g.now(func() { g.fails, g.told = nil, nil })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !slices.Equal(g.told, []string{"db2 3 []"}) {
			t.Errorf("told %q", g.told)
		}
		cancel()
		<-ran
	})
}

// An agent that starts again ends its call: who has to tell it something again hears of that.
func TestTheEndOfACallIsHeardOf(t *testing.T) {
	t.Parallel()
	lost := make(chan string, 100)
	w := watch(t, func(cfg *MonitorConfig) { cfg.Lost = func(server string) { lost <- server } })
	w.add("db1", inventory.ServerReady)
	w.add("db2", inventory.ServerReady)
	w.agents.fail("db2", errors.New("no route"))
	if server := <-lost; server != "db2" {
		t.Errorf("lost %s", server)
	}
}
