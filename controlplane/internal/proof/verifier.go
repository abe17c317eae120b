package proof

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

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
	roundLimit = time.Minute
	atOnce     = 64               // primaries at a time
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
	turns    map[string]bool      // primaries that have a turn now
	ending   sync.WaitGroup       // turns
	swept    bool                 // no document of a server that is gone is left
}

// replica is what this process knows of one.
type replica struct {
	mu      sync.Mutex
	rec     Record
	pending []kit.Table
	saved   time.Time
	unsaved bool      // what differs is not what is on record
	due     time.Time // after a pause
	away    string    // why it has no turns at all; empty when it has
}

// New makes a verifier.
func New(cfg Config) *Verifier {
	return &Verifier{cfg: cfg, replicas: map[string]*replica{}, rests: map[string]time.Time{},
		turns: map[string]bool{}}
}

// Run verifies until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	if v.cfg.Share <= 0 {
		return
	}
	defer v.ending.Wait()
	v.cfg.Loops.Run(ctx, loop.Spec{Name: "verify the replicas", Every: tick, Limit: roundLimit,
		LateAfter: 2 * roundLimit, Means: "the proofs of the replicas get old"},
		func(bounded context.Context) error { return v.round(ctx, bounded) })
}

// round gives each primary that has rested a turn, and waits for none: an agent that hangs keeps
// its own primary's. ctx is that of the turns.
func (v *Verifier) round(ctx, bounded context.Context) error {
	servers, err := v.servers(bounded)
	if err != nil {
		return err
	}
	v.tellAway(servers)
	for primary, replicas := range byPrimary(servers) {
		if !v.begins(primary) {
			continue
		}
		v.ending.Go(func() {
			defer v.ends(primary)
			limited, cancel := context.WithTimeout(ctx, turnLimit)
			defer cancel()
			v.turn(limited, primary, replicas)
		})
	}
	return nil
}

// begins says whether a primary may have a turn now.
func (v *Verifier) begins(primary string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.turns[primary] || len(v.turns) >= atOnce || time.Now().Before(v.rests[primary]) {
		return false
	}
	v.turns[primary] = true
	return true
}

func (v *Verifier) ends(primary string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.turns, primary)
}

func (v *Verifier) servers(ctx context.Context) (all []inventory.Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	err = v.cfg.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.Servers().All(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := v.forget(ctx, all); err != nil {
		return nil, err
	}
	err = v.load(ctx, all)
	v.takeRepairs(all)
	return all, err
}

// byPrimary are the replicas that can be verified, by their primaries: the agents of both answer.
func byPrimary(all []inventory.Server) map[string][]inventory.Server {
	groups := map[string][]inventory.Server{}
	for _, s := range all {
		if answers(s) && s.Role == inventory.RoleReplica {
			groups[s.Primary] = append(groups[s.Primary], s)
		}
	}
	for _, s := range all {
		if !answers(s) {
			delete(groups, s.Name)
		}
	}
	return groups
}

// tellAway notes which replicas have no turns, and why: what paused them before is old.
func (v *Verifier) tellAway(all []inventory.Server) {
	there := map[string]inventory.Server{}
	for _, s := range all {
		there[s.Name] = s
	}
	for _, s := range all {
		r := v.known(s.Name)
		if r == nil {
			continue
		}
		away := ""
		switch primary, found := there[s.Primary]; {
		case !answers(s):
			away = s.Name + " is " + string(s.State)
		case !found:
			away = "its primary " + s.Primary + " has no record"
		case !answers(primary):
			away = "its primary " + primary.Name + " is " + string(primary.State)
		}
		r.mu.Lock()
		r.away = away
		r.mu.Unlock()
	}
}

func answers(s inventory.Server) bool {
	return s.State == inventory.ServerReady || s.State == inventory.ServerDegraded
}

// turn compares a part of the replica that was due the longest.
func (v *Verifier) turn(ctx context.Context, primary string, replicas []inventory.Server) {
	var chosen *replica
	var name string
	var due time.Time
	for _, s := range replicas {
		r, err := v.replica(ctx, s)
		if err != nil {
			v.cfg.Log.Warn("cannot read proofs", "server", s.Name, "error", err)
			continue
		}
		r.mu.Lock()
		at := r.due
		r.mu.Unlock()
		if chosen == nil || at.Before(due) {
			chosen, name, due = r, s.Name, at
		}
	}
	if chosen == nil || time.Now().Before(due) {
		return
	}
	used, err := v.compare(ctx, primary, name, chosen)
	chosen.mu.Lock()
	chosen.due = time.Now()
	if next := chosen.rec.Began.Add(v.cfg.Interval); len(chosen.pending) == 0 &&
		!chosen.rec.Ended.IsZero() && next.After(chosen.due) {
		chosen.due = next
	}
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

// busy reports whether a job works on one of the servers.
func (v *Verifier) busy(ctx context.Context, servers ...string) (bool, error) {
	for _, name := range servers {
		for _, subject := range []string{inventory.ServerSubject(name),
			inventory.SnapshottingSubject(name)} {
			jobs, _, err := v.cfg.Jobs.List(ctx, job.Filter{Subject: subject, PageSize: 1,
				States: job.ActiveStates()})
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
	w := &work{primary: p, replica: agent, of: primary, name: name, rec: &rec, pending: r.pending,
		maxThreads: v.cfg.MaxThreads, now: time.Now}
	r.mu.Unlock()
	if len(w.pending) == 0 {
		due, err := v.begin(ctx, w, primary, p, agent)
		if err != nil || !due {
			v.keep(name, r, w)
			return w.used, err
		}
	}
	err = w.run(ctx, slice)
	if len(w.pending) == 0 && err == nil {
		err = v.settle(ctx, p, w)
	}
	v.keep(name, r, w)
	return w.used, err
}

// keep takes over what was found, unless the replica has another volume meanwhile.
func (v *Verifier) keep(name string, r *replica, w *work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec.Volume != w.rec.Volume {
		return
	}
	was, now := r.rec.Coverage(time.Now()).Different, w.rec.Coverage(time.Now()).Different
	r.rec, r.pending = *w.rec, w.pending
	r.unsaved = r.unsaved || !slices.Equal(was, now)
	if len(now) > len(was) {
		v.cfg.Log.Warn("replica differs from its primary", "server", name, "primary",
			w.rec.Primary, "different", strings.Join(now, "; "))
	}
}

// begin starts a round that is due, or goes on with one that another process began.
func (v *Verifier) begin(ctx context.Context, w *work, primary string, p,
	agent kit.Agent) (due bool, err error) {
	rec, now := w.rec, time.Now()
	under := rec.Primary == primary && rec.Ended.IsZero() && !rec.Began.IsZero()
	if !under && rec.Primary == primary && now.Sub(rec.Began) < v.cfg.Interval {
		return false, nil
	}
	tables, err := p.Tables(ctx)
	w.used += time.Since(now)
	if err != nil {
		return false, err
	}
	theirs, err := p.Status(ctx)
	if err != nil {
		return false, err
	}
	if !under || !rec.against(primary, theirs.BinlogHistory) {
		objects, err := w.differentObjects(ctx, p, agent, theirs)
		if err != nil {
			return false, err
		}
		rec.begin(now, primary, theirs.BinlogHistory, tables)
		rec.Objects, rec.Remedies = objects.Different.Found, objects.Different.Remedies
		rec.ObjectsSeen, rec.Open = time.Now(), len(objects.Open)
	}
	w.pending = slices.DeleteFunc(tables, func(t kit.Table) bool { return t.Name <= rec.Table })
	return true, nil
}

// settle ends a round whose tables were compared. One whose primary has another history now proves
// nothing of either: it does not end, so that the next one begins at once.
func (v *Verifier) settle(ctx context.Context, primary kit.Agent, w *work) error {
	theirs, err := primary.Status(ctx)
	switch {
	case err != nil:
		return err
	case theirs.BinlogHistory != w.rec.History:
		w.rec.History = ""
		return nil
	}
	return v.end(ctx, w)
}

// end ends a round of which all tables were compared. Those that were made or renamed meanwhile are
// compared first: under neither name it may have been their turn. What is so after that is open.
func (v *Verifier) end(ctx context.Context, w *work) error {
	began := time.Now()
	tables, err := w.primary.Tables(ctx)
	w.used += time.Since(began)
	if err != nil {
		return err
	}
	moved := w.rec.moved(tables)
	if len(moved) > 0 && !w.rec.Late {
		w.rec.Late, w.pending = true, moved
		return nil
	}
	w.rec.Ended = time.Now()
	return nil
}
