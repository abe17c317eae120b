package fleet

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// keepEvery is how old what is on record of a history gets. What came since is asked for again.
const keepEvery = time.Minute

// ledger is what is known of the history of one server's binary log: docs/lossless.md.
type ledger struct {
	mu    sync.Mutex
	known replication.Known
	kept  time.Time // when it was written last
	dirty bool      // what is on record is older

	news   bool      // more was read than is confirmed
	asking bool      // a call to confirm it goes on
	asked  time.Time // when the last one ended
	run    time.Time // start of the MariaDB that it was confirmed of
}

// ledgers are those of all servers, by name.
type ledgers struct {
	mu  sync.Mutex
	all map[string]*ledger // nil before they were read
	// generation is the control plane's: each restore raises it, whatever its clock says.
	generation int64
}

func (l *ledgers) of(server string) *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]*ledger{}
	}
	if l.all[server] == nil {
		l.all[server] = &ledger{}
	}
	return l.all[server]
}

func (l *ledgers) drop(server string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, server)
}

func (l *ledgers) each() map[string]*ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.all)
}

// readLedgers reads once what an earlier process knew.
func (m *Monitor) readLedgers(ctx context.Context) error {
	if m.ledgers.each() != nil {
		return nil
	}
	var docs map[string]string
	var generation int64
	err := m.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if generation, err = tx.Generation(ctx); err != nil {
			return err
		}
		docs, err = tx.Histories().All(ctx)
		return err
	})
	if err != nil {
		return err
	}
	read := map[string]*ledger{}
	for server, doc := range docs {
		one := &ledger{kept: time.Now()}
		if json.Unmarshal([]byte(doc), &one.known) != nil {
			one.known = replication.Known{} // as if nothing was known
		}
		one.known.Restored = one.known.Restored || one.known.Generation != generation
		one.news = len(one.known.Reads) > 0
		read[server] = one
	}
	m.ledgers.mu.Lock()
	defer m.ledgers.mu.Unlock()
	m.ledgers.all, m.ledgers.generation = read, generation
	return nil
}

// note keeps what an observation tells of histories: of the server's own, and of its primary's.
func (f *follower) note(st replication.Status) {
	srv := f.record()
	f.m.ledgers.of(srv.Name).report(st)
	of := f.m.follower(srv.Primary)
	if srv.Role != inventory.RoleReplica || of == nil {
		return
	}
	primary := of.record()
	for _, c := range st.Connections {
		if srv.InService() && c.PrimaryHost == primary.Address && c.PrimaryPort == primary.Port {
			f.m.ledgers.of(srv.Primary).read(srv, c)
		}
	}
	f.mu.Lock()
	f.noted = true
	f.mu.Unlock()
}

// report takes what the agent reports of its history. What is known already stays until that run
// of MariaDB has confirmed it: after a machine was put back with its agent's state, the agent does
// not know better. One that goes back has to confirm as well.
func (l *ledger) report(st replication.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, was := st.HistoryClaim, l.known
	if !st.Answers || now.ID == "" || now.ID != st.BinlogHistory {
		return
	}
	if now.ID != was.Claim.ID {
		l.known, l.run = replication.Known{}, st.Started
		l.kept, l.news = time.Time{}, false
	} else if now.Before(was.Claim) {
		l.run = time.Time{}
	}
	if l.confirmedOf(st) {
		l.known.Claim, l.known.Seen = now, st.BinlogPos
		l.dirty = l.dirty || l.known.Claim != was.Claim || l.known.Seen != was.Seen
	}
}

func (l *ledger) read(replica inventory.Server, c replication.Connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known.HasRead(replica.History, replica.Name, c, time.Now()) {
		l.news, l.dirty = true, true
	}
}

// keepLedgers writes what changed, each at most once a minute, and removes what is of servers that
// are gone.
func (m *Monitor) keepLedgers(ctx context.Context) error {
	if !m.rostered.Load() {
		return nil
	}
	due := map[string]*ledger{}
	for server, l := range m.ledgers.each() {
		if m.follower(server) == nil || l.due(time.Now()) {
			due[server] = l
		}
	}
	for names := range slices.Chunk(slices.Sorted(maps.Keys(due)), recordAtOnce) {
		if err := m.keepSome(ctx, names, due); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) due(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dirty && now.Sub(l.kept) >= keepEvery
}

func (m *Monitor) keepSome(ctx context.Context, names []string, all map[string]*ledger) error {
	docs, at := map[string]string{}, time.Now()
	for _, name := range names {
		doc := ""
		if m.follower(name) != nil {
			var err error
			if doc, err = all[name].document(m.ledgers.generation); err != nil {
				return err
			}
		}
		docs[name] = doc
	}
	err := m.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, name := range names {
			if err := tx.Histories().Put(ctx, name, docs[name]); err != nil {
				return err
			}
		}
		return nil
	})
	for _, name := range names {
		if err == nil && docs[name] == "" {
			m.ledgers.drop(name)
		}
		all[name].written(at, err == nil)
	}
	return err
}

// document is what is written. What comes meanwhile is written next time.
func (l *ledger) document(generation int64) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known.Generation = generation
	doc, err := json.Marshal(l.known)
	l.dirty = l.dirty && err != nil
	return string(doc), err
}

func (l *ledger) written(at time.Time, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if done {
		l.kept = at
	} else {
		l.dirty = true
	}
}
