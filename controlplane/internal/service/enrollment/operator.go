package enrollment

import (
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// CreateOperator gives an operator a certificate.
func (s *Service) CreateOperator(ctx context.Context,
	req *controlplanev1.CreateOperatorRequest) (*controlplanev1.CreateOperatorResponse, error) {
	bundle, err := s.Registry.CreateOperator(ctx, ca.OperatorRequest{
		Name: wire.ID(req.GetName()), Role: roleOf(req.GetRole()), CSR: req.GetCsr(),
		Servers: req.GetServers(), ValidateOnly: req.GetValidateOnly(),
		RequestID: wire.RequestID(req.GetRequestId()), Caller: caller(ctx),
	})
	if err != nil {
		return nil, err
	}
	answer := &controlplanev1.CreateOperatorResponse{Addresses: bundle.Addresses,
		Servers: bundle.Scope}
	if !req.GetValidateOnly() {
		answer.Certificate = operatorCertificate(bundle)
	}
	return answer, nil
}

// UpdateOperator has an operator work with other servers.
func (s *Service) UpdateOperator(ctx context.Context,
	req *controlplanev1.UpdateOperatorRequest) (*controlplanev1.UpdateOperatorResponse, error) {
	scope, err := s.Registry.SetScope(ctx, ca.ScopeRequest{Name: wire.ID(req.GetName()),
		Servers: req.GetServers(), ValidateOnly: req.GetValidateOnly(), Caller: caller(ctx)})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.UpdateOperatorResponse{Servers: scope}, nil
}

// RenewOperator gives the calling operator a new certificate.
func (s *Service) RenewOperator(ctx context.Context,
	req *controlplanev1.RenewOperatorRequest) (*controlplanev1.RenewOperatorResponse, error) {
	bundle, err := s.Registry.RenewOperator(ctx, identity.PeerOf(ctx), req.GetCsr(),
		chassis.RequestID(ctx))
	if err != nil {
		return nil, err
	}
	return &controlplanev1.RenewOperatorResponse{Certificate: operatorCertificate(bundle)}, nil
}

func operatorCertificate(bundle ca.OperatorBundle) *controlplanev1.OperatorCertificate {
	return &controlplanev1.OperatorCertificate{CaPem: bundle.CA,
		CertificatePem: bundle.Certificate, ExpireTime: timestamppb.New(bundle.Expires)}
}

// roleOf is the role that a request names. One that this program does not know is no role.
func roleOf(role controlplanev1.OperatorRole) identity.Role {
	if role == controlplanev1.OperatorRole_OPERATOR_ROLE_UNSPECIFIED {
		return identity.RoleOperator
	}
	return identity.Role(enum.Word(role))
}

// ListOperators returns a page of the operators, sorted by name. Who works with some servers sees
// their own record: those of others have the names of servers.
func (s *Service) ListOperators(ctx context.Context,
	req *controlplanev1.ListOperatorsRequest) (*controlplanev1.ListOperatorsResponse, error) {
	all, err := s.Operators.List(ctx)
	if err != nil {
		return nil, err
	}
	if len(wire.ScopeOf(ctx)) > 0 {
		own := identity.PeerOf(ctx).Identity.Name
		all = slices.DeleteFunc(all, func(o query.Operator) bool { return o.Name != own })
	}
	page, next, err := wire.Cut(wire.PageOf(req.GetPageSize(), req.GetPageToken()), all,
		"operators", query.Operator.Key)
	if err != nil {
		return nil, err
	}
	answer := &controlplanev1.ListOperatorsResponse{NextPageToken: next}
	for _, o := range page {
		answer.Operators = append(answer.Operators, s.operator(o))
	}
	return answer, nil
}

func (s *Service) operator(o query.Operator) *controlplanev1.Operator {
	cert := o.Newest
	state := controlplanev1.Operator_STATE_VALID
	if o.Login != nil && cert.Serial == "" { // who was revoked before the first login
		cert.RevokedAt, cert.Reason = o.Login.RevokedAt, o.Login.Reason
	}
	switch {
	case !cert.RevokedAt.IsZero():
		state = controlplanev1.Operator_STATE_REVOKED
	case !cert.Good(s.Now()):
		state = controlplanev1.Operator_STATE_EXPIRED
	}
	shown := &controlplanev1.Operator{Name: operatorPrefix + o.Name, State: state,
		Role:       enum.Of[controlplanev1.OperatorRole](string(o.Role)),
		IssueTime:  wire.Time(cert.Issued()),
		ExpireTime: wire.Time(cert.NotAfter), RevokeTime: wire.Time(cert.RevokedAt),
		RevokeReason: cert.Reason, Serial: cert.Serial, Servers: o.Scope}
	if login := o.Login; login != nil {
		shown.Account = &controlplanev1.Account{Issuer: login.Issuer, Subject: login.Subject,
			ShownName: login.Shown, LoginTime: wire.Time(login.Last),
			RevokeTime: wire.Time(login.RevokedAt)}
	}
	return shown
}
