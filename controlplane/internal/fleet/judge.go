package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// verdict is the state that follows from what is known of a server, and why.
type verdict struct {
	state   inventory.ServerState
	found   []replication.Finding
	decided bool // false leaves the state to whoever set it
}

// judge tells how the server is by its role, from the latest observation.
func (f *follower) judge() []replication.Finding {
	if f.last.At.IsZero() {
		return nil
	}
	expected := replication.Expected{Server: f.name, Paused: f.excuse.holds(time.Now()),
		Lineage: f.lineage, Namesake: f.namesake, Now: time.Now(),
		Replica: f.srv.Role == inventory.RoleReplica}
	if f.srv.Job != "" {
		expected.Reconnect = f.m.cfg.Reconnect(f.srv.Job)
		expected.Remount = f.m.cfg.Remount(f.srv.Job)
	}
	for _, m := range f.srv.Mounts {
		if m.Volume == f.srv.DataVolume && m.Volume != "" {
			expected.Mount, expected.FilesystemUUID = m.Path, m.FSUUID
		}
	}
	if f.srv.Role != inventory.RoleReplica {
		return f.last.Primary(f.srv.ServerID, expected)
	}
	found := f.last.Replica(replication.Want{ServerID: f.srv.ServerID,
		PrimaryHost: f.primary.Address, PrimaryPort: f.primary.Port}, expected)
	found = append(found, replication.FromPrimary(f.name, f.srv.Primary, f.last.Status,
		f.upstream)...)
	found = append(found, replication.Skips(f.name, f.srv.Primary, f.srv.ServerID, f.upstream,
		f.srv.Verified.GTID)...)
	found = append(found, f.stands()...)
	found = append(found, f.stillReads()...)
	different, known := f.m.cfg.Differs(f.name, f.srv.DataVolume)
	if len(different.Found) > 0 {
		found = append(found, replication.Differs(f.name, f.srv.Primary, different))
	}
	if !known {
		found = append(found, f.recorded(replication.DataDiffers)...)
	}
	if !f.compared {
		found = append(found, f.recorded(replication.LineageBroken)...)
	}
	return append(found, f.unproved()...)
}

// stillReads is the finding of a replica whose agent was revoked, while what it reads of its
// primary could not be ended yet.
func (f *follower) stillReads() []replication.Finding {
	if f.srv.AccessRevoked.IsZero() {
		return nil
	}
	why := f.m.cfg.AccessOpen(f.name)
	if why == "" { // nobody has tried since the control plane started
		return f.recorded(replication.AccessOpen)
	}
	return []replication.Finding{replication.StillReads(f.srv.Primary, f.m.cfg.Account(f.name),
		f.srv.AccessRevoked, why)}
}

// unproved is the finding that changes may be missing since something that may be over. What proves
// all data again ends it, unless that something is on record still: it may have gone on meanwhile.
func (f *follower) unproved() []replication.Finding {
	u, is := f.srv.UnprovedData()
	if !is || !slices.ContainsFunc(f.recorded(replication.Code(u.Code)), unproves) &&
		f.m.cfg.ProvedSince(f.srv, u.Since) {
		return nil
	}
	return []replication.Finding{replication.Unproved(f.name, u.Why, u.Since)}
}

// doubt notes on the record why changes may be missing, and takes that back once all data is
// proved. srv has the findings that were on record until now.
func (f *follower) doubt(srv *inventory.Server, found []replication.Finding, now time.Time) {
	u, is := srv.UnprovedData()
	recorded := slices.ContainsFunc(srv.Findings,
		func(r inventory.Finding) bool { return r.Code == u.Code && r.Unproves })
	if n := slices.IndexFunc(found, unproves); n >= 0 {
		// While it goes on, the time at which it began stays: another one would be another text.
		if code := string(found[n].Code); !is || !recorded || u.Code != code ||
			u.Level != inventory.VerifyFull {
			srv.DoubtData(code, found[n].Text, inventory.VerifyFull, now)
		}
		return
	}
	switch {
	case !is:
	case recorded:
		srv.DoubtData(u.Code, u.Why, u.Level, now) // it was there until now
	case f.m.cfg.ProvedSince(*srv, u.Since):
		srv.DataUnproved = inventory.DataUnproved{}
	}
}

func unproves(f replication.Finding) bool { return f.Unproves }

func unproved(f replication.Finding) bool { return f.Code == replication.DataUnproved }

// recorded is a finding on record. It stays while what it is judged by is not known, as after a
// start of the control plane.
func (f *follower) recorded(code replication.Code) []replication.Finding {
	var found []replication.Finding
	for _, r := range f.srv.Findings {
		if r.Code == string(code) {
			found = append(found, replication.Finding{Code: code, Text: r.Text, Errors: r.Errors,
				Hint: r.Hint, Unproves: r.Unproves})
		}
	}
	return found
}

// since is when a finding on record was first there; zero when it is not on record.
func (f *follower) since(code replication.Code) time.Time {
	for _, r := range f.srv.Findings {
		if r.Code == string(code) {
			return r.Since
		}
	}
	return time.Time{}
}

// verdict is the state that follows for a server in this state.
func (f *follower) verdict(state inventory.ServerState, now time.Time) verdict {
	if silent := f.silent(now); silent != "" {
		v := decide(f.m.cfg, state, facts{silent: true})
		if !v.decided {
			return v
		}
		v.found = append([]replication.Finding{f.silence(silent)},
			f.recorded(replication.WrongClock)...) // its agent does not start with that clock
		v.found = append(v.found, f.stillReads()...)
		return v
	}
	if state == inventory.ServerStopped && !f.heard.After(f.srv.Updated) {
		return verdict{state: state} // what was heard last is from before
	}
	v := decide(f.m.cfg, state, facts{ill: len(f.found) > 0,
		illFor: now.Sub(f.course.since), unknown: f.last.At.IsZero(),
		unproves:  slices.ContainsFunc(f.found, unproves) || slices.ContainsFunc(f.found, unproved),
		unsettled: !f.course.settled(f.m.cfg.calm())})
	if v.state == inventory.ServerDegraded {
		v.found = f.degradedBy()
	}
	return v
}

// why is the first of its reasons; empty when there is none.
func (v verdict) why() string {
	if len(v.found) == 0 {
		return ""
	}
	return v.found[0].Text
}

const comesAndGoes = "; it comes and goes"

// degradedBy is what it is ill of, or was last.
func (f *follower) degradedBy() []replication.Finding {
	found := slices.Clone(f.shown)
	if f.course.relapses >= oftenIll && len(found) > 0 {
		found[0].Text = strings.TrimSuffix(found[0].Text, comesAndGoes) + comesAndGoes
	}
	return found
}

// silent says why nothing is known of the server; empty when it is.
func (f *follower) silent(now time.Time) string {
	limit := f.m.cfg.UnreachableAfter
	switch age := now.Sub(f.last.At); {
	case now.Sub(f.heard) >= limit && f.err != nil:
		return f.err.Error()
	case now.Sub(f.heard) >= limit:
		return fmt.Sprintf("its agent has not answered for more than %s", limit)
	case !f.last.At.IsZero() && age >= limit+oldSample:
		return fmt.Sprintf("its agent has not observed anything for more than %s",
			limit+oldSample)
	}
	return ""
}

func (f *follower) silence(why string) replication.Finding {
	found := replication.Silent(f.name, why)
	if hint := errs.HintOf(f.err); !hint.Empty() {
		found.Hint = hint
	}
	return found
}

// facts are what a state follows from.
type facts struct {
	silent, ill, unknown bool
	// unsettled: it has not been well for long enough after a relapse.
	unsettled bool
	illFor    time.Duration
	// unproves: changes may be missing, however soon it is over.
	unproves bool
}

// decide is the state that follows for a server in this state.
func decide(cfg MonitorConfig, state inventory.ServerState, f facts) verdict {
	switch state {
	case inventory.ServerReady, inventory.ServerDegraded, inventory.ServerUnreachable:
	case inventory.ServerStopped:
		if f.silent || f.unknown {
			return verdict{state: state} // as it should be
		}
		f.unsettled = false // somebody else has started it
	default:
		return verdict{state: state}
	}
	switch {
	case f.silent:
		return verdict{state: inventory.ServerUnreachable, decided: true}
	case f.unknown:
		return verdict{state: state}
	case !f.ill && (!f.unsettled || state == inventory.ServerReady):
		return verdict{state: inventory.ServerReady, decided: true}
	case !f.ill:
		return verdict{state: inventory.ServerDegraded, decided: true}
	default:
		// One that comes back ill has been ill for as long as it was not seen.
		return verdict{state: inventory.ServerDegraded,
			decided: f.unproves || f.illFor >= cfg.DegradedAfter}
	}
}

func sameCodes(found []replication.Finding, recorded []inventory.Finding) bool {
	return slices.EqualFunc(found, recorded,
		func(a replication.Finding, b inventory.Finding) bool { return string(a.Code) == b.Code })
}

func sameFindings(found []replication.Finding, recorded []inventory.Finding) bool {
	return sameCodes(found, recorded) && slices.EqualFunc(found, recorded,
		func(a replication.Finding, b inventory.Finding) bool {
			return a.Text == b.Text && a.Unproves == b.Unproves && slices.Equal(a.Errors, b.Errors)
		})
}

// findings are what was found for the record: one that was on record keeps its time.
func findings(found []replication.Finding, recorded []inventory.Finding,
	now time.Time) []inventory.Finding {
	var all []inventory.Finding
	for _, f := range found {
		since := now.UTC()
		for _, old := range recorded {
			if old.Code == string(f.Code) {
				since = old.Since
			}
		}
		all = append(all, inventory.Finding{Code: string(f.Code), Since: since, Text: f.Text,
			Errors: f.Errors, Hint: f.Hint, Unproves: f.Unproves})
	}
	return all
}
