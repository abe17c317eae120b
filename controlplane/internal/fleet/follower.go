package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

const (
	// silentCall is how long a call to an agent may say nothing before it is made again.
	silentCall = 15 * time.Second
	// connecting is how long a call may take to say something at first: on a slow network, TCP,
	// TLS and HTTP/2 take seconds each.
	connecting = 30 * time.Second
	// againAfter is the pause before a call that ended is made again.
	againAfter = 500 * time.Millisecond
	// oldSample is how old what an agent sends may be, beyond UnreachableAfter: each part of a
	// sample that hangs makes the first sample that much later.
	oldSample = 6 * time.Second
	// rewriteAfter is the shortest time between two writes of findings whose words alone changed:
	// those of a connection that fails have another port each time.
	rewriteAfter     = 10 * time.Second
	rewriteUnreached = 5 * time.Minute
)

// follower follows one server's agent. Its times carry the monotonic clock, so that a clock that
// steps changes nothing.
type follower struct {
	m    *Monitor
	name string

	mu       sync.Mutex
	stop     context.CancelFunc
	done     chan struct{} // closed at its end; nil before it is started
	srv      inventory.Server
	seenAt   time.Time          // when its MarksSeen was first known here
	primary  *inventory.Server  // of a replica; nil until it is known
	upstream replication.Status // of the primary, when it answered last
	lineage  string             // why the primary is not what it follows any more; empty when it is
	compared bool               // lineage is known
	still    standstill
	namesake string    // another replica of the primary with its server_id, or empty
	twinSeen time.Time // when its primary listed the namesake last
	excuse   excuse
	last     replication.Observed
	noted    bool      // what it has read of its primary's binary log is known
	heard    time.Time // last answer; the begin when there was none
	course   course
	err      error // why the last call ended; nil while one goes on
	found    []replication.Finding
	shown    []replication.Finding // what was found last, that it was ill of
	doubted  *replication.Finding  // what unproves its data, until it is on record
	written  time.Time             // when its record was written last
	disk     diskTrend
	diskNow  Disk
	left     bool
	deadline *time.Timer // next time at which silence or illness count
	// vouched: a job that ran since the monitor began has recorded it READY.
	vouched    bool
	unrecorded time.Time // since when it is in another state than its record says; zero: it is not
}

func newFollower(m *Monitor, srv inventory.Server) *follower {
	now := time.Now()
	return &follower{m: m, name: srv.Name, srv: srv, seenAt: now, heard: now,
		course: course{since: now}}
}

func (f *follower) start(ctx context.Context) {
	f.mu.Lock() // it has its place already: others ask it
	defer f.mu.Unlock()
	ctx, f.stop = context.WithCancel(ctx)
	f.done = make(chan struct{})
	f.deadline = time.AfterFunc(f.m.cfg.UnreachableAfter, f.assess)
	go func(done chan struct{}, address string) {
		defer close(done)
		f.run(ctx, address)
	}(f.done, f.srv.Address)
}

// leave ends it. One that was not started ends at once.
func (f *follower) leave() {
	f.mu.Lock()
	stop, done := f.stop, f.done
	f.mu.Unlock()
	if done == nil {
		return
	}
	stop()
	<-done
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = true // one that judges at this moment would set its timer again
	f.deadline.Stop()
}

// follows reports whether the record is that of the agent that it follows.
func (f *follower) follows(srv inventory.Server) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done != nil && f.srv.Address == srv.Address && f.srv.MachineID == srv.MachineID
}

func (f *follower) record() inventory.Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.srv
}

// known is the record, and the latest status.
func (f *follower) known() (inventory.Server, replication.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.srv, f.last.Status
}

// run calls the agent again and again.
func (f *follower) run(ctx context.Context, address string) {
	for ctx.Err() == nil {
		err := f.call(ctx, address)
		if ctx.Err() != nil {
			return
		}
		f.failed(err)
		pause := time.NewTimer(againAfter + rand.N(againAfter/2))
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// call is one call to the agent. It is given up when it says nothing for too long: a peer that
// hangs, or a network that drops everything.
func (f *follower) call(ctx context.Context, address string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	said := errors.New("it said nothing for too long")
	silence := time.AfterFunc(connecting, func() { cancel(said) })
	defer silence.Stop()
	f.mu.Lock()
	last := f.last
	f.mu.Unlock()
	err := f.m.cfg.Agents.Observe(ctx, f.name, address, f.m.cfg.Beat, last,
		func(now replication.Observed) {
			silence.Reset(max(silentCall, 3*f.m.cfg.Beat))
			f.take(now)
		})
	if errors.Is(context.Cause(ctx), said) {
		return fmt.Errorf("cannot reach the agent of %s: %w", f.name, said)
	}
	return err
}

// failed notes that a call ended. What was told last is told again in whole.
func (f *follower) failed(err error) {
	f.mu.Lock()
	f.err, f.last.Hash = err, ""
	f.mu.Unlock()
	f.m.cfg.Lost(f.name)
	f.assess()
}

// take is an answer of the agent.
func (f *follower) take(now replication.Observed) {
	f.mu.Lock()
	f.last, f.heard, f.err = now, time.Now(), nil
	f.diskNow = f.disk.observe(f.heard, now.Status)
	if f.excuse.job != now.PausedBy {
		f.excuse = excuse{job: now.PausedBy, since: f.heard}
	}
	f.mu.Unlock()
	f.note(now.Status)
	f.assess()
}

// know, meet and excused tell it what the records are now.
func (f *follower) know(srv inventory.Server) {
	f.mu.Lock()
	f.recordIs(srv)
	f.mu.Unlock()
	f.assess()
}

func (f *follower) recordIs(srv inventory.Server) {
	if srv.MarksSeen != f.srv.MarksSeen || srv.DataVolume != f.srv.DataVolume {
		f.seenAt = time.Now()
	}
	if srv.State != f.srv.State {
		f.unrecorded = time.Time{}
		f.vouched = f.vouched || srv.State == inventory.ServerReady
	}
	f.srv = srv
}

func (f *follower) meet(primary inventory.Server, status replication.Status) {
	f.mu.Lock()
	lineage := f.lineage
	if status.Answers {
		f.upstream = status
	}
	f.still.observe(f.last.Status, f.upstream, f.since(replication.ReplicationStill), time.Now())
	if status.BinlogHistory != "" { // a MariaDB that is down tells nothing of its history
		f.compared = true
		lineage = replication.Lineage{History: f.srv.History}.Broken(status)
	}
	namesake := f.twin(status)
	same := f.primary != nil && f.primary.Address == primary.Address &&
		f.primary.Port == primary.Port && f.lineage == lineage && f.namesake == namesake
	f.primary, f.lineage, f.namesake = &primary, lineage, namesake
	f.mu.Unlock()
	if !same {
		f.assess()
	}
}

// namesakeStays is how long a namesake counts that its primary does not list now: two servers with
// one server_id throw each other out in turns, and a look finds one of them.
const namesakeStays = 30 * time.Second

// twin is the namesake after a look at what its primary lists.
func (f *follower) twin(status replication.Status) string {
	other, _ := status.Namesake(f.srv.ServerID, f.srv.Name, f.srv.Address)
	switch {
	case other.Host != "":
		f.twinSeen = time.Now()
		return other.Host
	case time.Since(f.twinSeen) < namesakeStays:
		return f.namesake
	default:
		return ""
	}
}

func (f *follower) excused(by string, j *job.Job) {
	f.mu.Lock()
	was := f.excuse
	if f.excuse.job == by {
		f.excuse.look(j)
	}
	same := f.excuse == was
	f.mu.Unlock()
	if !same {
		f.assess()
	}
}

// pausedBy is the job that stopped replication on purpose, as its agent told.
func (f *follower) pausedBy() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.excuse.job
}

// seen is when its agent answered last, by the clock of now; false when it has not since the
// follower began.
func (f *follower) seen() (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Add(-time.Since(f.heard)), !f.last.At.IsZero()
}

// assess judges what is known now, and asks for the record to be written when it says something
// else.
func (f *follower) assess() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done == nil || f.left || f.srv.Role == inventory.RoleReplica && f.primary == nil {
		return
	}
	now := time.Now()
	f.found = f.judge()
	f.observe(now)
	v := f.verdict(f.srv.State, now)
	f.compare(v, now)
	f.deadline.Reset(f.next(now))
	if n := slices.IndexFunc(f.found, unproves); n >= 0 && v.decided &&
		v.state != inventory.ServerUnreachable {
		f.doubted = &f.found[n]
	}
	if v.decided && f.marks(f.srv, now).news && now.Sub(f.written) >= againAfter {
		f.m.changes.mark(f.name)
		return
	}
	if !v.decided || v.state == f.srv.State && sameFindings(v.found, f.srv.Findings) {
		return
	}
	pause := rewriteAfter
	if v.state == inventory.ServerUnreachable {
		pause = rewriteUnreached
	}
	if v.state == f.srv.State && sameCodes(v.found, f.srv.Findings) &&
		now.Sub(f.written) < pause {
		return
	}
	f.m.changes.mark(f.name)
}

// observe takes what is known now into the course of its health. Silence is an illness as well.
func (f *follower) observe(now time.Time) {
	silent := f.silent(now)
	switch {
	case silent != "":
		f.shown = []replication.Finding{f.silence(silent)}
		f.course.observe(now, true, f.m.cfg.calm())
	case !f.last.At.IsZero():
		if len(f.found) > 0 {
			f.shown = f.found
		}
		f.course.observe(f.last.At, len(f.found) > 0, f.m.cfg.calm())
	}
}

// next is the time until silence or illness may count. It is far away while neither can.
func (f *follower) next(now time.Time) time.Duration {
	due := f.heard.Add(f.m.cfg.UnreachableAfter)
	if ill := f.course.since.Add(f.m.cfg.DegradedAfter); len(f.found) > 0 && ill.After(now) {
		due = minTime(due, ill)
	}
	if due.Before(now) {
		return rewriteAfter
	}
	return due.Sub(now) + time.Millisecond
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
