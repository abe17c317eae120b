package agentpool

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// Unit reads one unit.
func (a *agent) Unit(ctx context.Context, name string) (kit.Unit, error) {
	resp, err := call(ctx, a, lookLimit, a.systemd.GetUnit, &agentv1.GetUnitRequest{Unit: name})
	return unit(resp.GetUnit()), err
}

// EnsureUnit makes the unit unmasked, enabled, active and ready, from any state.
func (a *agent) EnsureUnit(ctx context.Context, req kit.UnitRequest,
	progress kit.Progress) ([]string, error) {
	var last *agentv1.EnsureUnitResponse
	limit := orDefault(req.Timeout, unitDefault) + answerGrace
	err := follow(ctx, a, limit, a.systemd.EnsureUnit,
		&agentv1.EnsureUnitRequest{Unit: req.Unit, Timeout: duration(req.Timeout),
			FencingToken: fencingToken(req.Token)},
		func(m *agentv1.EnsureUnitResponse) {
			tell(progress, m.GetProgress())
			last = m
		})
	if err == nil && last.GetUnit() == nil {
		err = cutShort(a.server, "EnsureUnit")
	}
	return last.GetChanges(), err
}

// StopUnit makes the unit inactive.
func (a *agent) StopUnit(ctx context.Context, req kit.UnitRequest) (bool, error) {
	resp, err := call(ctx, a, orDefault(req.Timeout, unitDefault)+answerGrace, a.systemd.StopUnit,
		&agentv1.StopUnitRequest{Unit: req.Unit, Timeout: duration(req.Timeout),
			FencingToken: fencingToken(req.Token)})
	return resp.GetChanged(), err
}

// MaskUnit makes an inactive unit unstartable.
func (a *agent) MaskUnit(ctx context.Context, req kit.UnitRequest) (bool, error) {
	resp, err := call(ctx, a, orDefault(req.Timeout, unitDefault)+answerGrace, a.systemd.MaskUnit,
		&agentv1.MaskUnitRequest{Unit: req.Unit, FencingToken: fencingToken(req.Token)})
	return resp.GetChanged(), err
}
