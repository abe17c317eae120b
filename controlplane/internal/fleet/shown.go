package fleet

import (
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// unrecordedAfter is how long what is observed may be another state than READY on record: where the
// store takes no writes, its records are as old as that.
const unrecordedAfter = 5 * time.Second

// Shown is a server's record as it is shown. READY is a claim about now, which a record of before
// the start of the control plane does not make: until somebody has seen since that the server is
// well it is UNKNOWN, and the reason says what is on record. The other states claim no health. When
// its agent answered last is what is known here, which may be later than what is on record.
func (m *Monitor) Shown(srv inventory.Server) inventory.Server {
	f, why := m.follower(srv.Name), unobserved
	if f != nil {
		if at, has := f.seen(); has && at.After(srv.LastSeen) {
			srv.LastSeen = at
		}
	}
	if srv.State != inventory.ServerReady {
		return srv
	}
	switch {
	case f != nil:
		if now := f.record(); now.Rev > srv.Rev && now.State != inventory.ServerReady {
			srv.State, srv.StateReason, srv.Findings = now.State, now.StateReason, now.Findings
			return srv
		}
		why = f.doubtful(time.Now())
	case m.rostered.Load():
		return srv // a job of this run made it
	}
	if why == "" {
		return srv
	}
	record := "READY on record"
	if !srv.LastSeen.IsZero() {
		record += ", last seen " + srv.LastSeen.UTC().Format(time.RFC3339)
	}
	srv.State, srv.StateReason = inventory.ServerUnknown, record+"; "+why
	return srv
}

const (
	sinceStart = "since the control plane started"
	unobserved = "its agent was not observed " + sinceStart
)

// doubtful says why READY on record does not prove that it is so now; empty when it does.
func (f *follower) doubtful(now time.Time) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.srv.State != inventory.ServerReady: // a job has recorded it READY since
		return ""
	case !f.unrecorded.IsZero() && now.Sub(f.unrecorded) >= unrecordedAfter:
		v := f.verdict(f.srv.State, now)
		return fmt.Sprintf("it is %s, which could not be recorded: %s", v.state, v.why())
	case f.vouched || !f.course.well.IsZero():
		return ""
	case len(f.found) > 0:
		return "its agent has reported " + sinceStart + ": " + f.found[0].Text
	case f.err != nil:
		return "its agent did not answer " + sinceStart + ": " + f.err.Error()
	}
	return unobserved
}

// compare notes since when the record does not say what follows from what is observed.
func (f *follower) compare(v verdict, now time.Time) {
	switch {
	case !v.decided || v.state == f.srv.State:
		f.unrecorded = time.Time{}
	case f.unrecorded.IsZero():
		f.unrecorded = now
	}
}
