package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// denied are those that a denier tells.
type denied struct {
	mu    sync.Mutex
	told  []string
	away  string
	hangs string
	old   string
	asked int // while it is too old
}

func (a *denied) tell(ctx context.Context, server string, list ca.DenyList) error {
	a.mu.Lock()
	away, hangs := a.away == server, a.hangs == server
	if a.old == server {
		defer a.mu.Unlock()
		a.asked++
		return errs.New(errs.Unimplemented, 0, "unknown method")
	}
	if !away && !hangs {
		a.told = append(a.told, fmt.Sprintf("%s %d", server, list.Sequence))
	}
	a.mu.Unlock()
	if hangs {
		<-ctx.Done()
	}
	if away || hangs {
		return errors.New("away")
	}
	return nil
}

func (a *denied) be(away, hangs string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away, a.hangs = away, hangs
}

func (a *denied) heard() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	heard := a.told
	a.told = nil
	slices.Sort(heard)
	return heard
}

// Each agent is told each list: one that is away when it is back, one that hangs makes no other
// wait, and one that began again is told again.
func TestAgentsAreToldWhoWasRevoked(t *testing.T) {
	t.Parallel()
	var servers []inventory.Server
	for _, name := range []string{"db1", "db2", "db3", "new"} {
		srv := inventory.Server{Name: name, State: inventory.ServerReady,
			Role: inventory.RolePrimary, Address: "10.0.0.5", AgentIdentity: "agent/" + name}
		if name == "new" {
			srv.AgentIdentity = ""
		}
		servers = append(servers, srv)
	}
	var list ca.DenyList
	var told denied
	var log bytes.Buffer // written while the denier is locked
	d := NewDenier(DenierConfig{Tell: told.tell,
		Servers: func() []inventory.Server { return servers },
		List:    func() ca.DenyList { return list },
		Log:     slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	defer d.calls.Wait()
	defer cancel()
	round := func(what string, want ...string) {
		t.Helper()
		if err := d.round(ctx); err != nil {
			t.Fatal(err)
		}
		for _, server := range []string{"db1", "db2", "db3"} {
			for d.calling(server) && server != "db3" {
				if err := t.Context().Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := told.heard(); !slices.Equal(got, want) {
			t.Errorf("%s: told %v, want %v", what, got, want)
		}
	}
	round("nobody is revoked")
	list.Sequence = 1
	told.be("db2", "db3")
	round("one is away, and one hangs", "db1 1")
	round("nothing is new")
	list.Sequence = 2
	round("a newer list", "db1 2")
	told.be("", "db3")
	d.agents["db2"].next = time.Now() // the pause is over
	round("one is back", "db2 2")
	d.Forget("db1")
	round("one has begun again", "db1 2")
	round("nothing is new")
	d.agents["db1"].next = time.Now()
	round("after a while", "db1 2")
	told.old = "db1"
	d.agents["db1"].next = time.Now()
	round("one is too old")
	round("it is not asked again and again")
	if told.asked != 1 || !strings.Contains(log.String(), "too old") {
		t.Errorf("the log does not tell:\n%s", log.String())
	}
}

// calling says whether the server's agent is being called.
func (t *Teller) calling(server string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.agents[server] != nil && t.agents[server].busy
}
