package enrollment

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// CreateOperator gives an operator a certificate.
func (s *Service) CreateOperator(ctx context.Context,
	req *controlplanev1.CreateOperatorRequest) (*controlplanev1.CreateOperatorResponse, error) {
	bundle, err := s.Registry.CreateOperator(ctx, ca.OperatorRequest{
		Name: wire.ID(req.GetName()), CSR: req.GetCsr(), ValidateOnly: req.GetValidateOnly(),
		Caller: caller(ctx),
	})
	if err != nil {
		return nil, err
	}
	answer := &controlplanev1.CreateOperatorResponse{Addresses: bundle.Addresses}
	if !req.GetValidateOnly() {
		answer.Certificate = operatorCertificate(bundle)
	}
	return answer, nil
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
