package ca

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// mostNamed laggards are in a refusal.
const mostNamed = 10

// Root is a root that is believed.
type Root struct {
	// Pin is its pin, Expires when it ends.
	Pin     string
	Expires time.Time
	// Signs is true for the one that signs.
	Signs bool
	// Key is where the key is of what signs for it.
	Key KeyPlace
	// Intermediate signs for it; nil where the root itself does.
	Intermediate *Intermediate
}

// Status is how far the replacement of the root is.
type Status struct {
	Phase Phase
	// Since is when the phase began; zero for PhaseSingle.
	Since time.Time
	Roots []Root
	// Lagging are those who have to get another certificate before the next phase.
	Lagging []Laggard
}

// What lags.
const (
	LaggingAgent    = "agent"
	LaggingMariaDB  = "mariadb"
	LaggingOperator = "operator"
	LaggingToken    = "join_token"
)

// Laggard is who has no certificate of this phase yet, or a join token that names the old root. An
// agent has one once it has shown it since this process began: an answer can be lost.
type Laggard struct {
	// Kind says what lags.
	Kind string
	// Name is "servers/{server}" or "operators/{operator}".
	Name string
	// Issued is when its newest certificate, or the token, was issued, Expires when that ends.
	Issued, Expires time.Time
}

func (l Laggard) String() string {
	switch l.Kind {
	case LaggingMariaDB:
		return l.Name + " (MariaDB)"
	case LaggingToken:
		return l.Name + " (join token)"
	}
	return l.Name
}

// Renews says whether its server's agent can renew what lags.
func (l Laggard) Renews() bool { return l.Kind == LaggingAgent || l.Kind == LaggingMariaDB }

// Rotation replaces the root of a registry's authority.
type Rotation struct{ *Registry }

// NewRotation makes one.
func NewRotation(registry *Registry) *Rotation { return &Rotation{registry} }

// keepAll keeps the registry's own identities; strictly, so that each is of the root that signs.
func (r *Rotation) keepAll(ctx context.Context, strictly bool) error {
	var faults []error
	for _, kept := range r.keeps.list() {
		faults = append(faults, r.keep(ctx, kept, strictly))
	}
	return errors.Join(faults...)
}

// RootExpires is when the first of the roots that are believed ends.
func (r *Rotation) RootExpires() time.Time { return r.config.Authority.Expires() }

// Status reads how far the replacement of the root is.
func (r *Rotation) Status(ctx context.Context) (status Status, err error) {
	err = r.config.Store.Read(ctx, func(ctx context.Context, records Records) error {
		status, err = r.status(ctx, records)
		return err
	})
	return status, storeError("cannot read the certificates of the fleet", err)
}

func (r *Rotation) status(ctx context.Context, records Records) (Status, error) {
	s := r.config.Authority.now()
	status := Status{Phase: s.phase}
	for i, one := range s.issuers {
		status.Roots = append(status.Roots, Root{Pin: identity.Pin(one.root),
			Expires: one.root.NotAfter, Signs: i == 0, Key: s.keys[i].place(),
			Intermediate: intermediateOf(one)})
	}
	if s.phase == PhaseSingle {
		return status, nil
	}
	status.Since = s.since
	prefixes, err := r.ofHosts("")
	if err != nil {
		return Status{}, err
	}
	for _, role := range identity.Operators() {
		prefixes = append(prefixes, identity.Identity{Role: role}.String())
	}
	if status.Lagging, err = r.lagging(ctx, records, s.since, prefixes); err != nil {
		return Status{}, err
	}
	if s.phase == PhaseRenewing {
		tokens, err := r.openTokens(ctx, records)
		status.Lagging = append(status.Lagging, tokens...)
		return status, err
	}
	return status, nil
}

// Lags says whether the agent of a server or its MariaDB lags.
func (r *Rotation) Lags(ctx context.Context, server string) (lags bool, err error) {
	s := r.config.Authority.now()
	if s.phase == PhaseSingle {
		return false, nil
	}
	prefixes, err := r.ofHosts(server)
	if err != nil {
		return false, err
	}
	var found []Laggard
	err = r.config.Store.Read(ctx, func(ctx context.Context, records Records) error {
		found, err = r.lagging(ctx, records, s.since, prefixes)
		return err
	})
	return slices.ContainsFunc(found, func(l Laggard) bool { return l.Name == "servers/"+server }),
		storeError("cannot read the certificates of "+server, err)
}

// ofHosts are how the identities of servers that begin so begin: of agents, and of MariaDB where it
// may show what the root signed that goes next, on the way back too.
func (r *Rotation) ofHosts(server string) ([]string, error) {
	prefixes := []string{identity.Agent(server).String()}
	signed, err := r.config.Authority.successorSigned()
	if signed {
		prefixes = append(prefixes, inventory.MariaDBIdentity(server))
	}
	return prefixes, err
}

// lagging are those who lag among the identities that begin so, of which agents come first.
func (r *Rotation) lagging(ctx context.Context, records Records, since time.Time,
	prefixes []string) (all []Laggard, err error) {
	unshown := map[string]bool{}
	for _, prefix := range prefixes {
		newest, err := records.Certificates.Newest(ctx, prefix)
		if err != nil {
			return nil, err
		}
		for _, cert := range newest {
			l := laggard(cert)
			if l.Kind == LaggingAgent && !r.shows.has(cert.Serial) {
				unshown[l.Name] = true
			}
			if r.counts(cert) && (cert.Issued().Before(since) || l.Renews() && unshown[l.Name]) {
				all = append(all, l)
			}
		}
	}
	return all, nil
}

// joining is how long a machine that has shown its token may ask again for a lost answer.
const joining = time.Minute

// openTokens are the join tokens that may still be used: they name the root that is to go.
func (r *Rotation) openTokens(ctx context.Context, records Records) (open []Laggard, err error) {
	tokens, err := records.Tokens.All(ctx, nil)
	now := r.config.Now()
	for _, t := range tokens {
		used := t.UsedBy != "" && now.Sub(t.UsedAt) >= joining
		if !used && t.RevokedAt.IsZero() && now.Before(t.Expires) {
			open = append(open, Laggard{Kind: LaggingToken, Name: "servers/" + t.Server,
				Issued: t.Created, Expires: t.Expires})
		}
	}
	return open, err
}

// counts says whether a certificate may still be shown. An agent may come back with one that has
// expired; the registry's own are seen to when the phase begins.
func (r *Rotation) counts(cert inventory.Certificate) bool {
	until := cert.NotAfter
	if strings.HasPrefix(cert.Identity, identity.Agent("").String()) {
		until = until.Add(r.config.AgentGrace)
	}
	own := slices.ContainsFunc(r.keeps.list(), func(k Kept) bool {
		return k.Identity.String() == cert.Identity
	})
	return !own && cert.RevokedAt.IsZero() && r.config.Now().Before(until)
}

func laggard(cert inventory.Certificate) Laggard {
	l := Laggard{Issued: cert.Issued(), Expires: cert.NotAfter}
	who, err := identity.Parse(cert.Identity)
	switch {
	case err != nil:
		l.Kind = LaggingMariaDB
		l.Name = "servers/" + strings.TrimPrefix(cert.Identity, inventory.MariaDBIdentity(""))
	case who.Role == identity.RoleAgent:
		l.Kind, l.Name = LaggingAgent, "servers/"+who.Name
	default:
		l.Kind, l.Name = LaggingOperator, operatorSubject(who.Name)
	}
	return l
}

// RotateRequest asks for the next phase of the replacement of the root.
type RotateRequest struct {
	// From is the phase of now: a request that comes twice takes one step.
	From Phase
	// Back asks for the one before.
	Back bool
	// Intermediate is, from PhaseSingle, the successor: an intermediate and its root, as PEM; of a
	// root that is believed already it can be alone. Nil for a root that is made.
	Intermediate []byte
	// OwnRoot makes a root in place of an intermediate.
	OwnRoot bool
	// ValidateOnly changes nothing.
	ValidateOnly bool
	// Caller is who asks.
	Caller Caller
}

// turn is one step from a phase to another.
type turn struct {
	says string
	// all is true when nobody may lag.
	all bool
	// pin is that of the root which stays alone, to be noted first; empty where both stay.
	pin string
	// signs is the key that begins to sign; nil where it is the one of before, or made first.
	signs *rootKey
	do    func(ctx context.Context, since time.Time) error
}

// Rotate takes the replacement of the root one phase on, or back: no phase refuses what was issued
// in the one before. FAILED_PRECONDITION while somebody lags who would be refused, and for going
// back where there is nothing to go back to.
func (r *Rotation) Rotate(ctx context.Context, req RotateRequest) (Status, error) {
	r.rotating.Lock()
	defer r.rotating.Unlock()
	const what = "cannot replace the root of the certificate authority"
	release, err := r.config.Authority.claim(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("%s: %w", what, err)
	}
	defer release()
	next, err := r.turn(req)
	if err == nil && next.signs != nil { // else nothing could be issued after the step
		err = r.config.Authority.tryKey(ctx, next.signs)
	}
	if err != nil {
		return Status{}, err
	}
	var status Status
	var since time.Time
	check := func(ctx context.Context, records Records) error {
		if err := r.inForce(ctx, records, req.Caller.Peer); err != nil {
			return err
		}
		if status, err = r.status(ctx, records); err != nil {
			return err
		}
		if next.all && len(status.Lagging) > 0 {
			return refuseFor(status.Lagging)
		}
		since, err = r.last(ctx, records)
		return err
	}
	if req.ValidateOnly {
		err := storeError(what, r.config.Store.Read(ctx, check))
		return status, err
	}
	if err := r.alone(ctx, what, func(ctx context.Context, records Records) error {
		if err := check(ctx, records); err != nil {
			return err
		}
		if next.pin != "" && records.NoteRoot != nil {
			if err := records.NoteRoot(ctx, next.pin); err != nil {
				return err
			}
		}
		return records.Events.Add(ctx, req.Caller.event(r.config.Now().UTC(), "ca.rotate", "ca",
			next.says))
	}); err != nil {
		return Status{}, err
	}
	if next.pin != "" { // what it shows itself is of the root that stays, before the other one goes
		r.config.Authority.showSigner()
		if err := r.keepAll(ctx, true); err != nil {
			return Status{}, err
		}
	}
	if err := next.do(ctx, since); err != nil {
		return Status{}, fmt.Errorf("%s: %w", what, err)
	}
	r.config.Logger.Info("the root of the certificate authority: " + next.says)
	if r.config.Authority.now().phase == PhaseSingle {
		r.shows.forget()
	}
	if err := r.keepAll(ctx, false); err != nil {
		return Status{}, err
	}
	return r.Status(ctx)
}

// last is when the last certificate of anybody was issued, by a clock that may have been ahead of
// the one of now. One that is further ahead than certificates follow is left out.
func (r *Rotation) last(ctx context.Context, records Records) (time.Time, error) {
	newest, err := records.Certificates.Newest(ctx, "")
	last, most := newestOf(newest), r.config.Now().Add(maxAhead-time.Minute)
	if last.After(most) {
		last = most
	}
	return last, err
}

// turn is the step from the phase of now.
func (r *Rotation) turn(req RotateRequest) (turn, error) {
	a, back := r.config.Authority, req.Back
	s := a.now()
	if s.phase != req.From {
		return turn{}, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_INVALID_FIELD,
			fmt.Sprintf("the phase is %s, not %s", s.phase, req.From),
			errs.WithHint("see the state, and ask again", errs.Call("GetAuthorityStatus")))
	}
	signed, err := a.successorSigned()
	if err != nil {
		return turn{}, err
	}
	switch {
	case s.phase == PhaseSingle && !back:
		return r.successor(req)
	case s.phase == PhaseIntroduced && !back:
		return turn{says: "the successor signs", all: true, signs: s.keys[1], do: a.swap},
			ripe(s.issuers[1], r.config.Now())
	case s.phase == PhaseIntroduced:
		return turn{says: "back to the old root alone", all: signed,
			pin: identity.Pin(s.issuers[0].root), do: a.drop}, nil
	case s.phase == PhaseRenewing && !back:
		return turn{says: goes(s.issuers[1], s.issuers[0]), all: true,
			pin: identity.Pin(s.issuers[0].root), do: a.drop}, nil
	case s.phase == PhaseRenewing:
		return turn{says: "back to the old root, which signs again", signs: s.keys[1],
			do: a.swap}, ripe(s.issuers[1], r.config.Now())
	}
	return turn{}, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_INVALID_FIELD,
		"the root is not being replaced", errs.WithHint("see its state",
			errs.Call("GetAuthorityStatus")))
}

// refuseFor refuses a step because of those who lag.
func refuseFor(all []Laggard) error {
	names := make([]string, 0, mostNamed)
	for _, l := range all[:min(len(all), mostNamed)] {
		names = append(names, l.String())
	}
	if more := len(all) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_INVALID_FIELD,
		"not all have a certificate of this phase yet: "+strings.Join(names, ", "),
		errs.WithHint("wait: agents that can be reached get one within six minutes, operators "+
			"with their next command after four hours, join tokens end within 15 minutes; "+
			"start or delete the servers that stay away",
			errs.Call("GetAuthorityStatus")))
}
