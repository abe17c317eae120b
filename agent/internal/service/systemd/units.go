package systemd

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/agent/internal/service/wire"
	domain "github.com/understudy-db/understudy/agent/internal/systemd"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// GetUnit returns one unit as systemd sees it now.
func (s *Service) GetUnit(ctx context.Context,
	r *agentv1.GetUnitRequest) (*agentv1.GetUnitResponse, error) {
	if err := s.allow.CheckSee(r.GetUnit()); err != nil {
		return nil, err
	}
	unit, err := s.units.Get(ctx, r.GetUnit())
	return &agentv1.GetUnitResponse{Unit: toUnit(unit)}, err
}

// ListUnits returns all units on the allow-list that systemd knows.
func (s *Service) ListUnits(ctx context.Context,
	r *agentv1.ListUnitsRequest) (*agentv1.ListUnitsResponse, error) {
	units, err := s.units.List(ctx)
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Page(units, func(u domain.Unit) string { return u.Name },
		r.GetPageSize(), r.GetPageToken())
	if err != nil {
		return nil, err
	}
	response := &agentv1.ListUnitsResponse{NextPageToken: next}
	for _, unit := range page {
		response.Units = append(response.Units, toUnit(unit))
	}
	return response, nil
}

// StartUnit makes the unit active.
func (s *Service) StartUnit(ctx context.Context,
	r *agentv1.StartUnitRequest) (*agentv1.StartUnitResponse, error) {
	unit, changed, err := s.bounded(ctx, r, s.units.Start)
	return &agentv1.StartUnitResponse{Unit: unit, Changed: changed}, err
}

// StopUnit makes the unit inactive.
func (s *Service) StopUnit(ctx context.Context,
	r *agentv1.StopUnitRequest) (*agentv1.StopUnitResponse, error) {
	unit, changed, err := s.bounded(ctx, r, s.units.Stop)
	return &agentv1.StopUnitResponse{Unit: unit, Changed: changed}, err
}

// RestartUnit restarts the unit once.
func (s *Service) RestartUnit(ctx context.Context,
	r *agentv1.RestartUnitRequest) (*agentv1.RestartUnitResponse, error) {
	unit, changed, err := s.bounded(ctx, r,
		func(ctx context.Context, unit string) (domain.Unit, bool, error) {
			return s.units.Restart(ctx, unit, r.GetInvocationId())
		})
	return &agentv1.RestartUnitResponse{Unit: unit, Changed: changed}, err
}

// ReloadUnit asks an active unit to reload.
func (s *Service) ReloadUnit(ctx context.Context,
	r *agentv1.ReloadUnitRequest) (*agentv1.ReloadUnitResponse, error) {
	if err := s.allow.CheckChange(r.GetUnit()); err != nil {
		return nil, err
	}
	unit, err := s.units.Reload(ctx, r.GetUnit())
	return &agentv1.ReloadUnitResponse{Unit: toUnit(unit)}, err
}

// change is a call of the domain that takes a unit's name alone.
type change func(ctx context.Context, unit string) (domain.Unit, bool, error)

func (s *Service) change(ctx context.Context, name string, do change) (*agentv1.Unit, bool, error) {
	if err := s.allow.CheckChange(name); err != nil {
		return nil, false, err
	}
	unit, changed, err := do(ctx, name)
	return toUnit(unit), changed, err
}

// bounded is change for requests that wait no longer than their timeout.
func (s *Service) bounded(ctx context.Context, r interface {
	GetUnit() string
	GetTimeout() *durationpb.Duration
}, do change) (*agentv1.Unit, bool, error) {
	ctx, cancel := bounded(ctx, r.GetTimeout())
	defer cancel()
	return s.change(ctx, r.GetUnit(), do)
}

// EnableUnit makes the unit start at boot.
func (s *Service) EnableUnit(ctx context.Context,
	r *agentv1.EnableUnitRequest) (*agentv1.EnableUnitResponse, error) {
	unit, changed, err := s.change(ctx, r.GetUnit(), s.units.Files.Enable)
	return &agentv1.EnableUnitResponse{Unit: unit, Changed: changed}, err
}

// DisableUnit makes the unit not start at boot.
func (s *Service) DisableUnit(ctx context.Context,
	r *agentv1.DisableUnitRequest) (*agentv1.DisableUnitResponse, error) {
	unit, changed, err := s.change(ctx, r.GetUnit(), s.units.Files.Disable)
	return &agentv1.DisableUnitResponse{Unit: unit, Changed: changed}, err
}

// MaskUnit makes the unit unstartable.
func (s *Service) MaskUnit(ctx context.Context,
	r *agentv1.MaskUnitRequest) (*agentv1.MaskUnitResponse, error) {
	unit, changed, err := s.change(ctx, r.GetUnit(), s.units.Files.Mask)
	return &agentv1.MaskUnitResponse{Unit: unit, Changed: changed}, err
}

// UnmaskUnit takes a mask away.
func (s *Service) UnmaskUnit(ctx context.Context,
	r *agentv1.UnmaskUnitRequest) (*agentv1.UnmaskUnitResponse, error) {
	unit, changed, err := s.change(ctx, r.GetUnit(), s.units.Files.Unmask)
	return &agentv1.UnmaskUnitResponse{Unit: unit, Changed: changed}, err
}

// ResetFailedUnit clears the failed state and the start limit.
func (s *Service) ResetFailedUnit(ctx context.Context,
	r *agentv1.ResetFailedUnitRequest) (*agentv1.ResetFailedUnitResponse, error) {
	unit, changed, err := s.change(ctx, r.GetUnit(), s.units.ResetFailed)
	return &agentv1.ResetFailedUnitResponse{Unit: unit, Changed: changed}, err
}

// SetDropIn writes a drop-in.
func (s *Service) SetDropIn(ctx context.Context,
	r *agentv1.SetDropInRequest) (*agentv1.SetDropInResponse, error) {
	if err := s.allow.CheckChange(r.GetUnit()); err != nil {
		return nil, err
	}
	changed, err := s.units.Files.SetDropIn(ctx, r.GetUnit(), r.GetDropIn(), r.GetContent())
	return &agentv1.SetDropInResponse{Changed: changed}, err
}

// DeleteDropIn removes a drop-in.
func (s *Service) DeleteDropIn(ctx context.Context,
	r *agentv1.DeleteDropInRequest) (*agentv1.DeleteDropInResponse, error) {
	if err := s.allow.CheckChange(r.GetUnit()); err != nil {
		return nil, err
	}
	changed, err := s.units.Files.DeleteDropIn(ctx, r.GetUnit(), r.GetDropIn())
	return &agentv1.DeleteDropInResponse{Changed: changed}, err
}
