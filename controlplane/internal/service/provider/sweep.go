package provider

import (
	"context"
	"errors"

	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/controlplane/internal/sweep"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Sweeper finds and removes what jobs left behind.
type Sweeper interface {
	// Find lists it.
	Find(ctx context.Context) (sweep.Leftovers, error)
	// Sweep removes these of it for who asked; sweep.ErrNotLeft.
	Sweep(ctx context.Context, who string, ids []string) (removed sweep.Leftovers, busy []string,
		err error)
}

// SweepProvider lists or removes what jobs left behind.
func (s *Service) SweepProvider(ctx context.Context,
	req *cpv1.SweepProviderRequest) (*cpv1.SweepProviderResponse, error) {
	ids := req.GetIds()
	if err := checkIDs(ids, req.GetValidateOnly()); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() {
		left, err := s.cfg.Sweeper.Find(ctx)
		if err != nil {
			return nil, err
		}
		return &cpv1.SweepProviderResponse{Objects: toObjects(left)}, nil
	}
	removed, busy, err := s.cfg.Sweeper.Sweep(ctx, wire.Who(ctx), ids)
	if errors.Is(err, sweep.ErrNotLeft) {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_ETAG_MISMATCH,
			err.Error(), errs.WithHint("ask with validate_only again"))
	}
	if err != nil {
		return nil, err
	}
	return &cpv1.SweepProviderResponse{Objects: toObjects(removed), BusyIds: busy}, nil
}

// checkIDs refuses ids with validate_only, and a call that would remove nothing.
func checkIDs(ids []string, validateOnly bool) error {
	var check errs.Fields
	check.Require("ids", (len(ids) == 0) == validateOnly,
		"must be what a call with validate_only listed, and empty with validate_only")
	return check.Err()
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
