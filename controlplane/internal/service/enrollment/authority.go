package enrollment

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// mostLagging are named in an answer.
const mostLagging = 1000

// GetAuthorityStatus returns how far the replacement of the root is.
func (s *Service) GetAuthorityStatus(ctx context.Context,
	_ *controlplanev1.GetAuthorityStatusRequest,
) (*controlplanev1.GetAuthorityStatusResponse, error) {
	status, err := s.Authority.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &controlplanev1.GetAuthorityStatusResponse{Status: authorityStatus(status)}, nil
}

// RotateAuthority takes the replacement of the root one phase on, or back.
func (s *Service) RotateAuthority(ctx context.Context, req *controlplanev1.RotateAuthorityRequest,
) (*controlplanev1.RotateAuthorityResponse, error) {
	status, err := s.Authority.Rotate(ctx, ca.RotateRequest{
		From: ca.Phase(enum.Word(req.GetFrom())), Back: req.GetBack(),
		OwnRoot: req.GetOwnRoot(), ValidateOnly: req.GetValidateOnly(), Caller: caller(ctx)})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.RotateAuthorityResponse{Status: authorityStatus(status)}, nil
}

// RequestIntermediate returns a signing request for an intermediate.
func (s *Service) RequestIntermediate(ctx context.Context,
	_ *controlplanev1.RequestIntermediateRequest,
) (*controlplanev1.RequestIntermediateResponse, error) {
	request, err := s.Authority.RequestIntermediate(ctx, caller(ctx))
	if err != nil {
		return nil, err
	}
	return &controlplanev1.RequestIntermediateResponse{CsrPem: request}, nil
}

// InstallIntermediate makes an intermediate the successor of what signs.
func (s *Service) InstallIntermediate(ctx context.Context,
	req *controlplanev1.InstallIntermediateRequest,
) (*controlplanev1.InstallIntermediateResponse, error) {
	status, err := s.Authority.Rotate(ctx, ca.RotateRequest{From: ca.PhaseSingle,
		Intermediate: req.GetChainPem(), ValidateOnly: req.GetValidateOnly(),
		Caller: caller(ctx)})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.InstallIntermediateResponse{Status: authorityStatus(status)}, nil
}

func authorityStatus(status ca.Status) *controlplanev1.AuthorityStatus {
	shown := &controlplanev1.AuthorityStatus{
		Phase:     enum.Of[controlplanev1.AuthorityPhase](string(status.Phase)),
		PhaseTime: wire.Time(status.Since), LaggingCount: int32(len(status.Lagging))}
	for _, root := range status.Roots {
		one := &controlplanev1.AuthorityStatus_Root{
			Pin: identity.ShowPin(root.Pin), ExpireTime: wire.Time(root.Expires),
			Signs: root.Signs,
			Key:   enum.Of[controlplanev1.AuthorityStatus_Root_Key](string(root.Key))}
		if below := root.Intermediate; below != nil {
			one.Intermediate = &controlplanev1.AuthorityStatus_Intermediate{
				Pin: identity.ShowPin(below.Pin), ExpireTime: wire.Time(below.Expires),
				Issuer: below.Issuer}
		}
		shown.Roots = append(shown.Roots, one)
	}
	for _, l := range status.Lagging[:min(len(status.Lagging), mostLagging)] {
		shown.Lagging = append(shown.Lagging, &controlplanev1.AuthorityStatus_Laggard{
			Name: l.Name, Kind: enum.Of[controlplanev1.AuthorityStatus_Laggard_Kind](l.Kind),
			IssueTime: wire.Time(l.Issued), ExpireTime: wire.Time(l.Expires)})
	}
	return shown
}
