package proof

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/loop"
)

const (
	tick       = time.Second
	slice      = 500 * time.Millisecond // of a primary's time, at once
	turnLimit  = 2 * time.Minute
	roundLimit = 5 * time.Minute
	atOnce     = 16               // primaries at a time
	pause      = 10 * time.Second // after a server was busy or away
	saveEvery  = time.Minute
	storeLimit = 10 * time.Second
)

// Jobs are the jobs on record.
type Jobs interface {
	// List reads a page of jobs.
	List(ctx context.Context, filter job.Filter) ([]job.Job, string, error)
}

// Config is what a verifier needs; all of it is required.
type Config struct {
	Store  *store.Store
	Agents kit.Agents
	Jobs   Jobs
	// Share is the share of each primary's time that is used, in percent; 0 verifies nothing.
	Share float64
	// MaxThreads is how many statements may run in a MariaDB that is read; 0 does not look.
	MaxThreads int
	// Interval is the least time between the begins of two rounds over a replica.
	Interval time.Duration
	Loops    *loop.Set
	Log      *slog.Logger
}

// Verifier compares every READY replica with its primary again and again. It is safe for concurrent
// use.
type Verifier struct {
	cfg Config

	mu       sync.Mutex
	replicas map[string]*replica
	rests    map[string]time.Time // by primary: when it is read next
}

// replica is what this process knows of one.
type replica struct {
	mu      sync.Mutex
	rec     Record
	pending []kit.Table
	saved   time.Time
	due     time.Time // after a pause
}

// New makes a verifier.
func New(cfg Config) *Verifier {
	return &Verifier{cfg: cfg, replicas: map[string]*replica{}, rests: map[string]time.Time{}}
}

// Run verifies until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	if v.cfg.Share <= 0 {
		return
	}
	v.cfg.Loops.Run(ctx, loop.Spec{Name: "verify the replicas", Every: tick, Limit: roundLimit,
		LateAfter: 2 * roundLimit, Means: "the proofs of the replicas get old"}, v.round)
}

// round gives each primary that has rested a turn.
func (v *Verifier) round(ctx context.Context) error {
	servers, err := v.servers(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	now := time.Now()
	for primary, replicas := range byPrimary(servers) {
		v.mu.Lock()
		rests := now.Before(v.rests[primary])
		v.mu.Unlock()
		if rests {
			continue
		}
		group.Go(func() error {
			bounded, cancel := context.WithTimeout(ctx, turnLimit)
			defer cancel()
			v.turn(bounded, primary, replicas)
			return nil
		})
	}
	return group.Wait()
}

func (v *Verifier) servers(ctx context.Context) (all []inventory.Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	err = v.cfg.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.Servers().All(ctx)
		return err
	})
	if err == nil {
		v.forget(all)
	}
	return all, err
}

// forget drops what is known of servers that are gone. Their documents go with the next save of
// their names, or stay: a document is small.
func (v *Verifier) forget(all []inventory.Server) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name := range v.replicas {
		gone := !slices.ContainsFunc(all, func(s inventory.Server) bool {
			return s.Name == name && s.State != inventory.ServerDeleted
		})
		if gone {
			delete(v.replicas, name)
		}
	}
}

// byPrimary are the replicas that can be verified, by their primaries.
func byPrimary(all []inventory.Server) map[string][]inventory.Server {
	groups := map[string][]inventory.Server{}
	for _, s := range all {
		if s.Role == inventory.RoleReplica && (s.State == inventory.ServerReady ||
			s.State == inventory.ServerDegraded) {
			groups[s.Primary] = append(groups[s.Primary], s)
		}
	}
	return groups
}

// turn compares a part of the replica that was due the longest.
func (v *Verifier) turn(ctx context.Context, primary string, replicas []inventory.Server) {
	var chosen *replica
	var name string
	for _, s := range replicas {
		r, err := v.replica(ctx, s)
		if err != nil {
			v.cfg.Log.Warn("cannot read proofs", "server", s.Name, "error", err)
			continue
		}
		if chosen == nil || r.due.Before(chosen.due) {
			chosen, name = r, s.Name
		}
	}
	now := time.Now()
	if chosen == nil || now.Before(chosen.due) {
		return
	}
	used, err := v.compare(ctx, primary, name, chosen)
	chosen.mu.Lock()
	chosen.due = time.Now()
	chosen.rec.Paused = ""
	if err != nil {
		chosen.due, chosen.rec.Paused = chosen.due.Add(pause), err.Error()
	}
	chosen.mu.Unlock()
	rest := time.Duration(float64(used) * (100/v.cfg.Share - 1))
	v.mu.Lock()
	v.rests[primary] = time.Now().Add(rest)
	v.mu.Unlock()
	if err := v.save(ctx, name, chosen); err != nil {
		v.cfg.Log.Warn("cannot keep proofs", "server", name, "error", err)
	}
}

// replica is what is known of a server, from the store the first time.
func (v *Verifier) replica(ctx context.Context, s inventory.Server) (*replica, error) {
	v.mu.Lock()
	known := v.replicas[s.Name]
	v.mu.Unlock()
	if known != nil {
		known.mu.Lock()
		defer known.mu.Unlock()
		if known.rec.Volume != s.DataVolume {
			known.rec, known.pending = Record{Volume: s.DataVolume}, nil
		}
		return known, nil
	}
	var doc string
	err := v.cfg.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		doc, err = tx.Proofs().Get(ctx, s.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	r := &replica{saved: time.Now()}
	if doc == "" || json.Unmarshal([]byte(doc), &r.rec) != nil || r.rec.Volume != s.DataVolume {
		r.rec = Record{Volume: s.DataVolume}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.replicas[s.Name] = r
	return r, nil
}

// save writes a record down now and then: what is lost is compared again.
func (v *Verifier) save(ctx context.Context, name string, r *replica) error {
	r.mu.Lock()
	if time.Since(r.saved) < saveEvery*time.Duration(1+len(r.rec.Tables)/500) {
		r.mu.Unlock()
		return nil
	}
	r.saved = time.Now()
	doc, err := json.Marshal(r.rec)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	return v.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.Proofs().Put(ctx, name, string(doc))
	})
}

// busy reports whether a job works on one of the servers.
func (v *Verifier) busy(ctx context.Context, servers ...string) (bool, error) {
	for _, name := range servers {
		for _, subject := range []string{inventory.ServerSubject(name), "snapshotting/" + name} {
			jobs, _, err := v.cfg.Jobs.List(ctx, job.Filter{Subject: subject, PageSize: 1,
				States: []job.State{job.Queued, job.Running, job.Waiting, job.Cancelling}})
			if err != nil || len(jobs) > 0 {
				return len(jobs) > 0, err
			}
		}
	}
	return false, nil
}

// compare begins a round when one is due, and compares the next part.
func (v *Verifier) compare(ctx context.Context, primary, name string, r *replica) (time.Duration,
	error) {
	busy, err := v.busy(ctx, primary, name)
	if err != nil {
		return 0, err
	}
	if busy {
		return 0, errors.New("a job works on it")
	}
	p, err := v.cfg.Agents.Agent(ctx, primary)
	if err != nil {
		return 0, err
	}
	agent, err := v.cfg.Agents.Agent(ctx, name)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	rec := r.rec.clone()
	r.mu.Unlock()
	w := &work{primary: p, replica: agent, rec: &rec, pending: r.pending,
		maxThreads: v.cfg.MaxThreads, now: time.Now}
	differed := len(rec.Coverage(time.Now()).Different)
	if len(w.pending) == 0 {
		if err = v.begin(ctx, w, primary, p, agent); err != nil || len(w.pending) == 0 {
			v.keep(r, rec, w)
			return w.used, err
		}
	}
	err = w.run(ctx, slice)
	if len(w.pending) == 0 && err == nil {
		rec.Ended = time.Now()
	}
	if different := rec.Coverage(time.Now()).Different; len(different) > differed {
		v.cfg.Log.Warn("replica differs from its primary", "server", name, "primary", primary,
			"different", strings.Join(different, "; "))
	}
	v.keep(r, rec, w)
	return w.used, err
}

func (v *Verifier) keep(r *replica, rec Record, w *work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec, r.pending = rec, w.pending
}

// begin starts a round that is due, or goes on with one that another process began.
func (v *Verifier) begin(ctx context.Context, w *work, primary string, p, agent kit.Agent) error {
	rec, now := w.rec, time.Now()
	goesOn := rec.Primary == primary && rec.Ended.IsZero() && !rec.Began.IsZero()
	if !goesOn && rec.Primary == primary && now.Sub(rec.Began) < v.cfg.Interval {
		return nil
	}
	tables, err := p.Tables(ctx)
	w.used += time.Since(now)
	if err != nil {
		return err
	}
	if !goesOn {
		objects, err := differentObjects(ctx, p, agent)
		if err != nil {
			return err
		}
		rec.begin(now, primary, tables)
		rec.Objects = objects
	}
	w.pending = slices.DeleteFunc(tables, func(t kit.Table) bool { return t.Name <= rec.Table })
	if len(w.pending) == 0 {
		rec.Ended = now
	}
	return nil
}

// Coverage is how much of a replica is proved; false when nothing is known of it.
func (v *Verifier) Coverage(server string) (Coverage, bool) {
	v.mu.Lock()
	r := v.replicas[server]
	v.mu.Unlock()
	if r == nil {
		return Coverage{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rec.Coverage(time.Now()), !r.rec.Began.IsZero()
}

// Differs is what differs of a replica, in words; none when nothing does.
func (v *Verifier) Differs(server string) []string {
	c, _ := v.Coverage(server)
	return c.Different
}
