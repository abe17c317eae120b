package enrollment

import (
	"context"
	"fmt"
	"math"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// CreateAgentGrant lets an operator make changing calls on an agent for a while.
func (s *Service) CreateAgentGrant(ctx context.Context, req *controlplanev1.CreateAgentGrantRequest,
) (*controlplanev1.CreateAgentGrantResponse, error) {
	made, err := s.Granting.Grant(ctx, ca.GrantRequest{Server: wire.ID(req.GetServer()),
		Operator: wire.ID(req.GetOperator()), Duration: req.GetDuration().AsDuration(),
		Reason: req.GetReason(), ValidateOnly: req.GetValidateOnly(),
		RequestID: wire.RequestID(req.GetRequestId()), Caller: caller(ctx)})
	if err != nil {
		return nil, err
	}
	answer := &controlplanev1.CreateAgentGrantResponse{Grant: s.grant(made)}
	if !req.GetValidateOnly() {
		answer.Delivered, answer.UndeliveredReason = s.deliver(ctx, made)
	}
	return answer, nil
}

// RevokeAgentGrant ends a grant.
func (s *Service) RevokeAgentGrant(ctx context.Context, req *controlplanev1.RevokeAgentGrantRequest,
) (*controlplanev1.RevokeAgentGrantResponse, error) {
	ended, err := s.Granting.Revoke(ctx, ca.RevokeGrantRequest{ID: req.GetId(),
		ValidateOnly: req.GetValidateOnly(), RequestID: wire.RequestID(req.GetRequestId()),
		Caller: caller(ctx)})
	if err != nil {
		return nil, err
	}
	answer := &controlplanev1.RevokeAgentGrantResponse{Grant: s.grant(ended)}
	if !req.GetValidateOnly() {
		answer.Delivered, answer.UndeliveredReason = s.deliver(ctx, ended)
	}
	return answer, nil
}

func (s *Service) deliver(ctx context.Context, g inventory.AgentGrant) (done bool, why string) {
	why = s.Deliver(ctx, g)
	return why == "", why
}

// ListAgentGrants returns a page of the grants, newest first.
func (s *Service) ListAgentGrants(ctx context.Context, req *controlplanev1.ListAgentGrantsRequest,
) (*controlplanev1.ListAgentGrantsResponse, error) {
	all, err := s.Grants.List(ctx, wire.ID(req.GetServer()), wire.ScopeOf(ctx))
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Cut(wire.PageOf(req.GetPageSize(), req.GetPageToken()), all,
		"agent_grants", newestGrantFirst)
	if err != nil {
		return nil, err
	}
	answer := &controlplanev1.ListAgentGrantsResponse{NextPageToken: next}
	for _, g := range page {
		answer.Grants = append(answer.Grants, s.grant(g))
	}
	return answer, nil
}

// newestGrantFirst is what grants are sorted by, as join tokens are.
func newestGrantFirst(g inventory.AgentGrant) string {
	return fmt.Sprintf("%019d %s", math.MaxInt64-g.Created.UnixMilli(), g.ID)
}

func (s *Service) grant(g inventory.AgentGrant) *controlplanev1.AgentGrant {
	state := controlplanev1.AgentGrant_STATE_ACTIVE
	switch {
	case !g.RevokedAt.IsZero() && g.RevokedAt.Before(g.Expires):
		state = controlplanev1.AgentGrant_STATE_REVOKED
	case g.Left(s.Now()) == 0:
		state = controlplanev1.AgentGrant_STATE_EXPIRED
	}
	return &controlplanev1.AgentGrant{Id: g.ID, Server: "servers/" + g.Server,
		Operator: g.Operator, Reason: g.Reason, State: state, Creator: g.Creator,
		CreateTime: wire.Time(g.Created), ExpireTime: wire.Time(g.Expires),
		RevokeTime: wire.Time(g.RevokedAt)}
}
