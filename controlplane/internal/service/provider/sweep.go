package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/controlplane/internal/sweep"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// maxSweep is how many things one call removes.
const maxSweep = 1000

// Sweeper finds and removes what jobs left behind.
type Sweeper interface {
	// Find lists it.
	Find(ctx context.Context) (sweep.Leftovers, error)
	// Sweep removes these of it; sweep.ErrNotLeft.
	Sweep(ctx context.Context, ids []string) (removed sweep.Leftovers, busy []string, err error)
}

// SweepProvider lists or removes what jobs left behind.
func (s *Service) SweepProvider(ctx context.Context, req *cpv1.SweepProviderRequest) (*cpv1.SweepProviderResponse, error) {
	ids := req.GetIds()
	if bad := len(ids) > maxSweep || (len(ids) == 0) != req.GetValidateOnly(); bad {
		return nil, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD, fmt.Sprintf("ids has %d entries", len(ids)), errs.Field("ids", "name 1 to 1000, and none with validate_only"),
			errs.WayOut("ask with validate_only first, and name what that lists"))
	}
	if req.GetValidateOnly() {
		left, err := s.cfg.Sweeper.Find(ctx)
		if err != nil {
			return nil, wire.Err(err)
		}
		return &cpv1.SweepProviderResponse{Objects: toObjects(left)}, nil
	}
	removed, busy, err := s.cfg.Sweeper.Sweep(ctx, ids)
	if errors.Is(err, sweep.ErrNotLeft) {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_ETAG_MISMATCH, err.Error(), errs.WayOut("ask with validate_only again"))
	}
	if err != nil {
		return nil, wire.Err(err)
	}
	return &cpv1.SweepProviderResponse{Objects: toObjects(removed), BusyIds: busy}, nil
}

func toObjects(l sweep.Leftovers) []*cpv1.ProviderObject {
	var all []*cpv1.ProviderObject
	for _, m := range l.Machines {
		all = append(all, ofMachine(m, nil))
	}
	for _, v := range l.Volumes {
		all = append(all, ofVolume(v, nil))
	}
	for _, s := range l.Snapshots {
		all = append(all, ofSnapshot(s, nil))
	}
	return all
}
