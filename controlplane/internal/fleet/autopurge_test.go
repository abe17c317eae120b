package fleet

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

var errGone = errors.New("no route")

// purgeAgent is the agent of a MariaDB that purges, or not.
type purgeAgent struct {
	kit.Agent
	expiry   time.Duration
	down     bool
	away     bool
	failures int    // calls that fail without an effect
	lost     int    // calls whose answer is lost, after that
	before   func() // done before the next change
}

type purgeAgents struct{ one *purgeAgent }

func (a purgeAgents) Agent(context.Context, string) (kit.Agent, error) {
	if a.one.away {
		return nil, errGone
	}
	return a.one, nil
}

func (a *purgeAgent) Status(context.Context) (replication.Status, error) {
	return replication.Status{Answers: !a.down, DownReason: "stopped"}, nil
}

func (a *purgeAgent) SetBinlogExpiry(ctx context.Context, after time.Duration,
	_ kit.FencingToken) (bool, error) {
	if fn := a.before; fn != nil {
		a.before = nil
		fn()
	}
	if a.failures > 0 {
		a.failures--
		return false, errGone
	}
	changed := a.expiry != after
	a.expiry = after
	if a.lost > 0 {
		a.lost--
		return false, errGone
	}
	return changed, ctx.Err()
}

type purgeLab struct {
	t     *testing.T
	st    *store.Store
	agent *purgeAgent
	p     *Purging
}

func newPurgeLab(t *testing.T, on bool) *purgeLab {
	t.Helper()
	st := storetest.New(t)
	l := &purgeLab{t: t, st: st, agent: &purgeAgent{expiry: host.BinlogExpiry(on)}}
	l.p = NewPurging(query.Servers{Store: st}, purgeAgents{l.agent})
	l.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx, &inventory.Server{Name: "db1", State: inventory.ServerReady,
			Role: inventory.RolePrimary, ServerID: 7, BinlogAutoPurge: on})
	})
	return l
}

func (l *purgeLab) write(fn func(context.Context, *store.Tx) error) {
	l.t.Helper()
	if err := l.st.Write(l.t.Context(), fn); err != nil {
		l.t.Fatal(err)
	}
}

// gain is what the commit of a replica's plan does to the record.
func (l *purgeLab) gain() {
	l.write(func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, "db1")
		if err != nil {
			return err
		}
		if err := srv.GainReplica(); err != nil {
			return err
		}
		return tx.Servers().Update(ctx, &srv)
	})
}

func (l *purgeLab) set(on bool) error {
	_, err := l.p.SetBinlogAutoPurge(l.t.Context(), AutoPurge{Server: "db1", On: on,
		Who: "tester"})
	return err
}

func (l *purgeLab) record() bool {
	l.t.Helper()
	r, err := l.p.Get(l.t.Context(), "db1")
	if err != nil {
		l.t.Fatal(err)
	}
	return r.BinlogAutoPurge
}

// The record and MariaDB are both changed, or neither is, and a record that says "off" is always
// true.
func TestAutoPurgeIsChangedInMariaDBToo(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		was, on bool
		plant   func(*purgeLab)
		says    string
		record  bool
		mariadb bool
	}{
		"on":  {on: true, record: true, mariadb: true},
		"off": {was: true},
		"on again": {was: true, on: true,
			plant: func(l *purgeLab) { l.agent.expiry = 0 }, record: true, mariadb: true},
		"off again": {plant: func(
			l *purgeLab) {
			l.agent.expiry = time.Hour
		}},
		"on without an agent": {on: true,
			plant: func(l *purgeLab) { l.agent.away = true }, says: "stays off: no route"},
		"off without an agent": {was: true,
			plant: func(l *purgeLab) { l.agent.away = true }, says: "stays on: no route",
			record: true, mariadb: true},
		"on while MariaDB is down": {on: true,
			plant: func(l *purgeLab) { l.agent.down = true },
			says:  "stays off: MariaDB on db1 does not answer: stopped"},
		"off while MariaDB is down": {was: true,
			plant: func(l *purgeLab) { l.agent.down = true }, says: "stays on", record: true,
			mariadb: true},
		"on, and the call fails": {on: true,
			plant: func(l *purgeLab) { l.agent.failures = 1 }, says: "stays off: no route"},
		"on, and the answer is lost": {on: true,
			plant: func(l *purgeLab) { l.agent.lost = 1 }, says: "stays off: no route"},
		"on, and the agent goes away": {on: true,
			plant: func(l *purgeLab) { l.agent.failures = 2 },
			says:  "did not confirm it, so ask again", record: true},
		"on again, and the call fails": {was: true, on: true,
			plant: func(l *purgeLab) { l.agent.failures = 1 }, says: "ask again", record: true,
			mariadb: true},
		"off, and the call fails": {was: true,
			plant: func(l *purgeLab) { l.agent.failures = 2 }, says: "stays on: no route",
			record: true, mariadb: true},
		"off, and the answer is lost": {was: true,
			plant: func(l *purgeLab) { l.agent.lost = 1 }, says: "stays on: no route", record: true,
			mariadb: true},
		"on, and a replica is planned": {on: true,
			plant: func(l *purgeLab) { l.agent.before = l.gain },
			says:  "turned off again meanwhile"},
		"on with a replica": {on: true, plant: (*purgeLab).gain,
			says: "cannot be turned on"},
		"off, and a replica is planned first": {was: true,
			plant: func(l *purgeLab) { l.agent.before = l.gain }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newPurgeLab(t, c.was)
			if c.plant != nil {
				c.plant(l)
			}
			err := l.set(c.on)
			if c.says == "" && err != nil || c.says != "" &&
				(err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if got, purges := l.record(), l.agent.expiry > 0; got != c.record ||
				purges != c.mariadb {
				t.Errorf("by the record %v, in MariaDB %v; want %v and %v", got, purges, c.record,
					c.mariadb)
			}
			if !l.record() && l.agent.expiry > 0 {
				t.Error("MariaDB purges what the record says is kept")
			}
		})
	}
}

func TestAutoPurgeAskedForAtOneTimeEndsAsOneOfThem(t *testing.T) {
	t.Parallel()
	l := newPurgeLab(t, false)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			if err := l.set(i%2 == 0); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if l.record() != (l.agent.expiry > 0) {
		t.Errorf("by the record %v, in MariaDB %s", l.record(), l.agent.expiry)
	}
}
