// Package grants keeps which operators may make changing calls on this agent, each until their
// grant ends, as the control plane tells. The list is in memory alone: an agent that starts again
// has none until it is told.
package grants

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// longest is the longest time that a grant has left, whatever the control plane's clock says.
const longest = 8 * time.Hour

var ending = loop.Spec{Name: "end what is called under grants that are over", Every: time.Second,
	Limit: time.Second, LateAfter: time.Minute,
	Means: "calls of operators go on after their grants"}

// Grant lets an operator make changing calls.
type Grant struct {
	// ID is its id.
	ID string
	// Operator is who may make them: the identity in the certificate.
	Operator string
	// Key is the print of the operator's key: see identity.KeyPrint.
	Key string
	// Left is how long it is in force from now on.
	Left time.Duration
	// End is when it ends by the clock of the control plane.
	End time.Time
	// Reason is why it was made.
	Reason string
}

// List is the grants of now.
type List struct {
	server string
	log    *slog.Logger
	clock  clock

	mu       sync.Mutex
	sequence int64
	held     map[string]*held // by id
}

// clock is the time twice: on the clock of the host, which somebody may set, and since the list was
// made, which stands still while the host does.
type clock struct {
	wall  func() time.Time
	since func() time.Duration
}

// held is a grant with the calls that are made under it. It is over as soon as either clock says
// so.
type held struct {
	Grant
	until time.Duration
	calls map[*context.CancelCauseFunc]struct{}
}

// New makes a list without grants for the agent of a server.
func New(server string, log *slog.Logger) *List {
	began := time.Now()
	return &List{server: server, log: log, held: map[string]*held{}, clock: clock{
		wall:  func() time.Time { return time.Now().Round(0) },
		since: func() time.Duration { return time.Since(began) }}}
}

// Set takes a list that is not older than the one of now: what is not in it is over. A grant that
// is known is never prolonged. It says whether another set of grants is in force, and which is.
func (l *List) Set(sequence int64, all []Grant) (changed bool, inForce []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sequence < l.sequence {
		return false, nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_SUPERSEDED,
			fmt.Sprintf("list %d of grants is over: the agent has list %d", sequence, l.sequence),
			errs.WithHint("send the newest list"))
	}
	l.sequence = sequence
	l.endOld()
	next := make(map[string]*held, len(all))
	for _, g := range all {
		h := l.hold(g)
		if !l.over(h) {
			next[g.ID] = h
		}
	}
	for id, h := range l.held {
		if next[id] == nil {
			l.end(h)
			changed = true
		}
	}
	for id, h := range next {
		if l.held[id] == nil {
			changed = true
			l.log.Info("an operator may make changing calls", "grant", id, "operator", h.Operator,
				"until", h.End, "reason", h.Reason)
		}
	}
	l.held = next
	return changed, slices.Sorted(maps.Keys(next)), nil
}

// hold is the grant as it is kept, with its calls when it is known.
func (l *List) hold(g Grant) *held {
	h := &held{Grant: g, until: l.clock.since() + min(g.Left, longest),
		calls: map[*context.CancelCauseFunc]struct{}{}}
	known := l.held[g.ID]
	if known == nil {
		return h
	}
	if known.Operator != g.Operator || known.Key != g.Key {
		l.end(known)
		return h
	}
	h.until, h.calls = min(h.until, known.until), known.calls
	if known.End.Before(h.End) {
		h.End = known.End
	}
	return h
}

func (l *List) over(h *held) bool {
	return l.clock.since() >= h.until || !l.clock.wall().Before(h.End)
}

// Admit refuses a changing call of an operator who has no grant. With one, it gives the context
// that the call goes on with, which ends with the grant, and what to call once the call is over.
// The control plane needs none, and neither has root on the host's socket.
func (l *List) Admit(ctx context.Context, method string) (context.Context, func(), error) {
	peer := identity.PeerOf(ctx)
	switch peer.Identity.Role {
	case identity.RoleControlPlane, identity.RoleBreakGlass:
		return ctx, func() {}, nil
	}
	if !authz.Changes(method) {
		return ctx, func() {}, nil
	}
	within, id, leave := l.enter(ctx, peer)
	if id == "" {
		return nil, nil, errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_GRANT_REQUIRED,
			fmt.Sprintf("%s has no grant to change %s", peer.Identity, l.server),
			errs.WithHint("have the control plane give you one for a while, or call as root over "+
				"the agent's socket on the host", l.another()))
	}
	chassis.NoteGrant(ctx, id)
	return within, leave, nil
}

// another is the call that makes a grant.
func (l *List) another() errs.Action {
	return errs.Call("CreateAgentGrant", "server", "servers/"+l.server)
}

// enter notes a call of the peer under the grant of theirs that lasts longest. Without one the id
// is empty.
func (l *List) enter(ctx context.Context, peer identity.Peer) (within context.Context, id string,
	leave func()) {
	if peer.Certificate == nil {
		return ctx, "", nil
	}
	who, key := peer.Identity.String(), identity.KeyPrint(peer.Certificate)
	l.mu.Lock()
	defer l.mu.Unlock()
	var found *held
	for _, h := range l.held {
		if h.Operator == who && h.Key == key && !l.over(h) &&
			(found == nil || h.until > found.until) {
			found = h
		}
	}
	if found == nil {
		return ctx, "", nil
	}
	within, cut := context.WithCancelCause(ctx)
	found.calls[&cut] = struct{}{}
	return within, found.ID, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(found.calls, &cut)
		cut(nil)
	}
}

// Run ends calls with their grants until ctx ends.
func (l *List) Run(ctx context.Context, loops *loop.Set) {
	loops.Run(ctx, ending, func(context.Context) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.endOld()
		return nil
	})
}

// endOld ends the grants whose time is over.
func (l *List) endOld() {
	for id, h := range l.held {
		if l.over(h) {
			l.end(h)
			delete(l.held, id)
		}
	}
}

// end ends the calls that are made under a grant.
func (l *List) end(h *held) {
	l.log.Info("a grant has ended", "grant", h.ID, "operator", h.Operator, "calls", len(h.calls))
	for cut := range h.calls {
		(*cut)(errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_GRANT_REQUIRED,
			fmt.Sprintf("%s of %s has ended", h.ID, h.Operator),
			errs.WithHint("see what was done, then have the control plane give you another one",
				l.another())))
	}
}
