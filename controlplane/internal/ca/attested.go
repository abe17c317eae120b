package ca

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Attestor says which machine asks, by what its provider has signed about it; *attest.EC2 does.
type Attestor interface {
	// Name is how a join file asks for it.
	Name() string
	// Attest says which machine it is that shows what was signed, from that address. A machine
	// beside an error is the one that it is about.
	Attest(ctx context.Context, signed []byte, address string) (inventory.Attested, error)
}

// askAgain is when an agent asks again whose machine may yet be one that may join.
const askAgain = 5 * time.Second

// proof is what a machine shows to get an identity as a server: a join token, or that it is the
// machine.
type proof struct {
	server, token string
	machine       inventory.Attested
}

// prove says what the request proves. The machine beside an error is the one that it is about.
func (e enrolment) prove(ctx context.Context) (proof, error) {
	req := e.req
	p := proof{server: req.Server, token: req.Token}
	if len(req.Attestation) == 0 {
		return p, nil
	}
	if e.config.Attestor == nil {
		return p, noAttestation("cannot enrol " + req.Server)
	}
	var err error
	p.machine, err = e.config.Attestor.Attest(ctx, req.Attestation, req.Address)
	if err != nil {
		return p, fmt.Errorf("cannot enrol %s: %w", req.Server, err)
	}
	return p, nil
}

func noAttestation(what string) error {
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_ATTESTATION_INVALID,
		what+": the control plane takes no attestation of machines",
		errs.WithHint("use a join token, or have the control plane take it (`attest` in its "+
			"configuration)", errs.Call("CreateJoinToken")))
}

// grounds are the record by which the machine is let in, marked as used by the key.
type grounds struct {
	token inventory.JoinToken
	// was is its key until now; empty for one that is not on record yet.
	was string
}

// admit says by what record the machine is let in for that key; nothing is written.
func (p proof) admit(ctx context.Context, records Records, print string,
	now time.Time) (grounds, error) {
	if p.machine.Machine == "" {
		token, err := usable(ctx, records, p.token, p.server, print, now)
		return grounds{token, token.Hash}, err
	}
	known, err := records.Tokens.OfMachine(ctx, p.machine.Provider, p.machine.Machine)
	if err != nil {
		return grounds{}, err
	}
	key := p.machine.Key()
	at := slices.IndexFunc(known, func(t inventory.JoinToken) bool { return t.Hash == key })
	switch {
	case at < 0:
		return p.admitFirst(ctx, records, known, print, now)
	case known[at].UsedBy != print || known[at].Server != p.server:
		return grounds{}, p.used(known[at].Server)
	}
	err = p.spend(ctx, records, &known[at], print, now)
	return grounds{known[at], key}, err
}

// admitFirst is admit for a start of the machine that nobody has used.
func (p proof) admitFirst(ctx context.Context, records Records, known []inventory.JoinToken,
	print string, now time.Time) (grounds, error) {
	joined, why := false, error(nil)
	for _, t := range known {
		if t.UsedBy != "" {
			joined = true
			continue
		}
		was := t.Hash
		err := p.spend(ctx, records, &t, print, now)
		if err == nil || errs.KindOf(err) != errs.PermissionDenied {
			return grounds{t, was}, err
		}
		if why == nil || t.Server == p.server {
			why = err
		}
	}
	return p.admitMade(ctx, records, print, now, joined, why)
}

// admitMade lets a machine in that was made for the server, once; why is what is wrong with those
// that were named.
func (p proof) admitMade(ctx context.Context, records Records, print string, now time.Time,
	joined bool, why error) (grounds, error) {
	made := ""
	if records.Machine != nil {
		var err error
		if made, err = records.Machine(ctx, p.server); err != nil {
			return grounds{}, err
		}
	}
	switch id := p.machine.Machine; {
	case made != id && why != nil:
		return grounds{}, why
	case made != id:
		return grounds{}, errs.New(errs.Unavailable,
			errorsv1.Reason_REASON_ATTESTATION_INVALID,
			fmt.Sprintf("machine %s is not known to have been made for server %s, and nobody has "+
				"named it", id, p.server), errs.Retry(askAgain),
			errs.WithHint("name the machine, if it is the one", p.naming()))
	case joined || !p.machine.FirstStart():
		return grounds{}, errs.New(errs.PermissionDenied,
			errorsv1.Reason_REASON_ATTESTATION_INVALID,
			fmt.Sprintf("machine %s of server %s joins by itself once, at its first start", id,
				p.server), errs.WithHint("name the machine, if it is to join again", p.naming()))
	}
	if err := p.startedSinceRestore(ctx, records); err != nil {
		return grounds{}, err
	}
	t := inventory.JoinToken{Server: p.server, Creator: identity.ControlPlane().String(),
		Created: now, Expires: p.machine.Expires}
	err := p.spend(ctx, records, &t, print, now)
	return grounds{token: t}, err
}

// startedSinceRestore refuses a start of before a restore: it may have been used after the backup.
func (p proof) startedSinceRestore(ctx context.Context, records Records) error {
	if records.Restored == nil {
		return nil
	}
	restored, err := records.Restored(ctx)
	if err != nil || p.machine.Started.After(restored) {
		return err
	}
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ATTESTATION_EXPIRED,
		fmt.Sprintf("machine %s was started before the control plane's records were restored, on "+
			"%s", p.machine.Machine, restored.UTC().Format(time.RFC3339)),
		errs.WithHint("name the machine, if it has not joined", p.naming()))
}

// spend marks a record of the machine as used by the key, by this start of the machine.
func (p proof) spend(ctx context.Context, records Records, t *inventory.JoinToken, print string,
	now time.Time) error {
	unused := *t
	if err := t.Redeem(p.server, print, now); err != nil {
		return err
	}
	if err := onlyOne(ctx, records, unused, print, now); err != nil {
		return err
	}
	t.Hash = p.machine.Key()
	if err := outlivesRevocation(ctx, records, *t); err != nil {
		return err
	}
	return withinScope(ctx, records, *t)
}

// redeem lets the machine in for that key.
func (p proof) redeem(ctx context.Context, records Records, print string, now time.Time) error {
	a, err := p.admit(ctx, records, print, now)
	switch {
	case err != nil:
		return err
	case a.was == "":
		return records.Tokens.Insert(ctx, a.token)
	case a.was != a.token.Hash:
		return records.Tokens.SpendAs(ctx, a.was, a.token)
	}
	return records.Tokens.Spend(ctx, a.token)
}

// used refuses a start of the machine by which that server was joined.
func (p proof) used(server string) error {
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ATTESTATION_USED,
		fmt.Sprintf("another key has joined by the start of machine %s at %s, as server %s",
			p.machine.Machine, p.machine.Started.UTC().Format(time.RFC3339), server),
		errs.WithHint("see who it was; where it was not the agent, make another machine",
			errs.Call("ListEvents", "subject", inventory.ServerSubject(server))))
}

// naming is the call by which an operator names the machine.
func (p proof) naming() errs.Action {
	return errs.Call("CreateJoinToken", "server", inventory.ServerSubject(p.server), "machine",
		p.machine.Machine)
}

// by is what an event says of how a machine was let in.
func (p proof) by() string {
	if p.machine.Machine == "" {
		return ""
	}
	return ", by attestation of machine " + p.machine.Machine
}

// noteRefused writes the event of a machine that was attested and refused: that of a copied
// document, or of a process that was not the agent. Each reason is one of its own: who provokes one
// does not keep another from the record.
func (e enrolment) noteRefused(ctx context.Context, p proof, why error) {
	req, now := e.req, e.config.Now().UTC()
	if len(req.Attestation) == 0 {
		noteToken(ctx, e.Registry, p.token, req.Address, req.RequestID, why)
		return
	}
	if p.machine.Machine == "" || errs.KindOf(why) != errs.PermissionDenied ||
		!e.refusals.first("machine "+p.machine.Machine+" "+errs.ReasonOf(why).String(), now) {
		return
	}
	who := identity.Agent(req.Server)
	by := Caller{Peer: identity.Peer{Identity: who}, RequestID: req.RequestID}
	addRefusal(ctx, e.Registry, by.event(now, refusedAction, inventory.ServerSubject(req.Server),
		fmt.Sprintf("machine %s, from %s: %v", p.machine.Machine, req.Address, why)))
}
