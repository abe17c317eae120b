package fencing

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// theControlPlane is remembered among the jobs, which have a slash in their names.
const theControlPlane = "control plane"

// Newest refuses calls of a control plane when one that was restored later has called. A job's own
// epochs cannot: each of the two may start new jobs. A call that lasts asks again and again.
func (e *Epochs) Newest(ctx context.Context) error {
	generation, err := identity.GenerationOf(ctx)
	if err != nil {
		return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			"the call's metadata is wrong", errs.Wrap(err),
			errs.WithHint("call with a control plane of this version"))
	}
	if generation == 0 {
		return nil
	}
	if err := e.Admit(theControlPlane, generation); !errors.Is(err, errs.Aborted) {
		return err
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_SUPERSEDED,
		fmt.Sprintf("generation %d of the control plane is over: one that was restored later "+
			"has taken over", generation),
		errs.WithHint("stop this control plane; to go on with it instead of the other one, "+
			"restore a backup of it"))
}
