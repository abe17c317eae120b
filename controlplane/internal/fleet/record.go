package fleet

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const (
	// gather is how long changes are gathered for one transaction.
	gather = 100 * time.Millisecond
	// retryRecord is the pause before changes that could not be recorded are tried again.
	retryRecord = time.Second
	// recordAtOnce is how many servers one transaction changes.
	recordAtOnce = 500
)

// changes are the servers whose record has to be written. Its lock is taken last.
type changes struct {
	mu    sync.Mutex
	names map[string]struct{}
	wake  chan struct{}
}

// mark asks for the record of a server to be written.
func (c *changes) mark(names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		c.names[name] = struct{}{}
	}
	if len(c.names) > 0 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// take gives some of them; the others stay marked.
func (c *changes) take() (names []string) {
	defer c.mark()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.names {
		if len(names) == recordAtOnce {
			break
		}
		names = append(names, name)
		delete(c.names, name)
	}
	return names
}

// recordAll writes what changed until ctx ends.
func (m *Monitor) recordAll(ctx context.Context) {
	l := m.cfg.Loops.Start(loop.Spec{Name: "record the states of the servers", Limit: storeLimit,
		LateAfter: lateAfter, Means: "the states of the servers are old"})
	defer l.End()
	alive := time.NewTicker(rosterEvery)
	defer alive.Stop()
	for {
		pause := gather
		l.Round(ctx, func(ctx context.Context) error {
			err := m.recordSome(ctx)
			if err != nil {
				pause = retryRecord
			}
			return err
		})
		select {
		case <-ctx.Done():
			return
		case <-m.changes.wake:
		case <-alive.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// recordSome writes the records of the servers that changed, in one transaction.
func (m *Monitor) recordSome(ctx context.Context) error {
	names := m.changes.take()
	if len(names) == 0 {
		return nil
	}
	var moves []move
	var doubted []string
	err := m.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		moves, doubted = nil, nil
		all, err := tx.Servers().Some(ctx, names)
		if err != nil {
			return err
		}
		for _, srv := range all {
			one, err := m.record(ctx, tx, srv)
			if err != nil {
				return err
			}
			if one.changed {
				moves = append(moves, one)
			}
		}
		// Their own records are written by then.
		for _, one := range moves {
			if one.lost == "" {
				continue
			}
			names, err := doubtReplicas(ctx, tx, one.srv.Name, one.lost)
			if err != nil {
				return err
			}
			doubted = append(doubted, names...)
		}
		return nil
	})
	if err != nil {
		m.changes.mark(names...)
		return err
	}
	for _, one := range moves {
		one.done(m.cfg.Log)
	}
	m.changes.mark(doubted...)
	return nil
}

// move is a change of a server's record.
type move struct {
	f       *follower
	from    inventory.ServerState
	srv     inventory.Server
	doubted *replication.Finding // what it says of the follower's
	lost    string               // rows that its replicas have may be lost on it
	changed bool
}

// record moves the server to the state that is right now, unless its record changed meanwhile.
func (m *Monitor) record(ctx context.Context, tx *store.Tx, srv inventory.Server) (move, error) {
	f := m.follower(srv.Name)
	if f == nil || !f.follows(srv) {
		return move{}, nil // the next look at the records finds it
	}
	f.know(srv) // a job, or this loop, may have noted that its data is unproved
	now := time.Now()
	f.mu.Lock()
	v, doubted := f.verdict(srv.State, now), f.doubted
	marks := f.marks(srv, now)
	f.mu.Unlock()
	one := move{f: f, from: srv.State, srv: srv, doubted: doubted, changed: true}
	over := doubted != nil && !slices.ContainsFunc(v.found, unproves)
	if !v.decided || !over && !marks.news && v.state == srv.State &&
		sameFindings(v.found, srv.Findings) {
		return one, nil
	}
	why := v.why()
	found := findings(v.found, srv.Findings, now)
	if over { // also where the record could not be written while it was there
		srv.DoubtData(string(doubted.Code), doubted.Text, inventory.VerifyFull, now)
	} else {
		f.doubt(&srv, v.found, now)
	}
	if marks.news {
		marks.take(&srv, now)
		one.lost = marks.lost
	}
	if v.state != srv.State || v.state != inventory.ServerReady {
		if err := srv.SetState(v.state, why); err != nil {
			return move{}, err
		}
	}
	srv.Findings = found
	if err := tx.Servers().Update(ctx, &srv); err != nil {
		return move{}, err
	}
	one.srv = srv
	if srv.State == one.from {
		return one, nil // the reason alone is no event
	}
	return one, tx.Events().Add(ctx, inventory.Event{
		Actor: identity.ControlPlane().String(), Action: "server.state", Subject: srv.Subject(),
		Message: stateText(srv.State, why),
	})
}

// done tells the follower what is on record now, and the log of a change of state.
func (one move) done(log *slog.Logger) {
	one.f.mu.Lock()
	one.f.recordIs(one.srv)
	one.f.written = time.Now()
	if one.f.doubted == one.doubted {
		one.f.doubted = nil
	}
	one.f.mu.Unlock()
	if one.from == one.srv.State {
		return
	}
	level := slog.LevelInfo
	if one.srv.State == inventory.ServerDegraded || one.srv.State == inventory.ServerUnreachable {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "server changed", "server", one.srv.Name, "from",
		string(one.from), "to", string(one.srv.State), "reason", one.srv.StateReason)
}

func stateText(to inventory.ServerState, why string) string {
	if why == "" {
		return "is " + string(to)
	}
	return "is " + string(to) + ": " + why
}
