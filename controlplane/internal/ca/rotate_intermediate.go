package ca

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Intermediate signs in place of a root whose key is not here.
type Intermediate struct {
	// Pin is its pin, Expires when it ends.
	Pin     string
	Expires time.Time
	// Issuer is the name of its root.
	Issuer string
}

func intermediateOf(one issuer) *Intermediate {
	if one.intermediate == nil {
		return nil
	}
	return &Intermediate{Pin: identity.Pin(one.intermediate), Expires: one.intermediate.NotAfter,
		Issuer: one.intermediate.Issuer.String()}
}

// RequestIntermediate is a signing request, as PEM, for an intermediate of a root that is kept
// elsewhere. Until that is installed, another call returns one for the same key.
// FAILED_PRECONDITION while the root is being replaced.
func (r *Rotation) RequestIntermediate(ctx context.Context, by Caller) (request []byte,
	err error) {
	const what = "cannot request an intermediate"
	r.rotating.Lock()
	defer r.rotating.Unlock()
	release, err := r.config.Authority.claim(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer release()
	if phase := r.config.Authority.now().phase; phase != PhaseSingle {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_INVALID_FIELD,
			fmt.Sprintf("%s: the phase is %s", what, phase),
			errs.WithHint("end the replacement of the root first, or go back",
				errs.Call("GetAuthorityStatus")))
	}
	if err := r.alone(ctx, what, func(ctx context.Context, records Records) error {
		if err := r.inForce(ctx, records, by.Peer); err != nil {
			return err
		}
		return records.Events.Add(ctx, by.event(r.config.Now().UTC(), "ca.request_intermediate",
			"ca", "a signing request for an intermediate was made"))
	}); err != nil {
		return nil, err
	}
	request, err = intermediates{r.config.Authority}.requestCertificate(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return request, nil
}

// successor is the step that begins a replacement.
func (r *Rotation) successor(req RotateRequest) (turn, error) {
	a := intermediates{r.config.Authority}
	if len(req.Intermediate) > 0 {
		given, err := a.intermediateIn(req.Intermediate)
		if err != nil {
			return turn{}, err
		}
		key, err := a.heldKey(given)
		return turn{says: fmt.Sprintf("the intermediate with pin %s of the root with pin %s is to "+
			"succeed", identity.ShowPin(identity.Pin(given.cert())),
			identity.ShowPin(identity.Pin(given.root))), signs: key,
			do: a.introduceGiven(given)}, err
	}
	if one := a.now().issuers[0]; one.intermediate != nil && !req.OwnRoot {
		return turn{}, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_INVALID_FIELD,
			fmt.Sprintf("the key of the root %q is not here: no successor of it can be made",
				one.root.Subject),
			errs.WithHint("request an intermediate, of that root or another one, and install it; "+
				"--own-root has the control plane make a root of its own",
				errs.Call("RequestIntermediate")))
	}
	return turn{says: "a successor is believed beside it", do: a.introduce}, nil
}

// ripe refuses to sign with what has ended, with which the control plane would not start, and what
// began so recently that hosts whose clock is behind refuse it.
func ripe(one issuer, now time.Time) error {
	if end := one.expires(); !now.Before(end) {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_INVALID_FIELD,
			fmt.Sprintf("the %s that would sign ended on %s", one.what(),
				end.Format(time.DateOnly)),
			errs.WithHint("see what signs and what is believed; a successor that has ended is "+
				"given up by going back", errs.Call("GetAuthorityStatus")))
	}
	from := one.begins().Add(backdate)
	if one.intermediate == nil || !now.Before(from) {
		return nil
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_INVALID_FIELD,
		"the intermediate is valid since less than two hours: a host whose clock is behind would "+
			"refuse what it signs", errs.Retry(from.Sub(now)),
		errs.WithHint("take the step from "+from.UTC().Format(time.RFC3339)+" on"))
}

// goes says what is given up.
func goes(gone, stays issuer) string {
	if sameRoot(gone, stays) {
		return "the intermediate of before signs no more; its root is still believed"
	}
	return "the old root is believed no longer"
}
