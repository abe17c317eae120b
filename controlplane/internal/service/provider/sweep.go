package provider

import (
	"context"
	"errors"
	"fmt"
	"regexp"

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

var objectID = regexp.MustCompile(`^(i|vol|snap)-[0-9a-f]{8,17}$`)

func checkIDs(ids []string, validateOnly bool) error {
	bad := ""
	if len(ids) > maxSweep || (len(ids) == 0) != validateOnly {
		bad = fmt.Sprintf("ids has %d entries, not 1 to %d, and none with validate_only", len(ids),
			maxSweep)
	}
	for _, id := range ids {
		if bad == "" && !objectID.MatchString(id) {
			bad = fmt.Sprintf("ids has %.40q, which is not an id of the provider", id)
		}
	}
	if bad == "" {
		return nil
	}
	return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD, bad,
		errs.Field("ids", bad),
		errs.WithHint("ask with validate_only first, and name what that lists"))
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
