package fakecp

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/identity"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// CreateJoinToken returns a join file with no token in it that is worth anything.
func (s *Server) CreateJoinToken(_ context.Context,
	req *cpv1.CreateJoinTokenRequest) (*cpv1.CreateJoinTokenResponse, error) {
	server := strings.TrimPrefix(req.GetServer(), "servers/")
	return &cpv1.CreateJoinTokenResponse{
		JoinFile:    []byte(`{"server":"` + server + `","token":"not-a-token"}` + "\n"),
		JoinCommand: "understudy-agent join --server " + server + " --token not-a-token",
		ExpireTime:  timestamppb.New(Now().Add(req.GetTtl().AsDuration()))}, nil
}

// CreateOperator certifies any key for any name.
func (s *Server) CreateOperator(_ context.Context,
	req *cpv1.CreateOperatorRequest) (*cpv1.CreateOperatorResponse, error) {
	cert, err := s.certify(strings.TrimPrefix(req.GetName(), "operators/"), req.GetCsr())
	return &cpv1.CreateOperatorResponse{Certificate: cert, Addresses: []string{s.Address()}}, err
}

// RenewOperator certifies a key for alice.
func (s *Server) RenewOperator(_ context.Context,
	req *cpv1.RenewOperatorRequest) (*cpv1.RenewOperatorResponse, error) {
	cert, err := s.certify("alice", req.GetCsr())
	return &cpv1.RenewOperatorResponse{Certificate: cert}, err
}

func (s *Server) certify(operator string, der []byte) (*cpv1.OperatorCertificate, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_CSR_INVALID, err.Error())
	}
	cert := s.ca.Certify(csr.PublicKey.(*ecdsa.PublicKey), identity.Operator(operator))
	block := func(der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return &cpv1.OperatorCertificate{CaPem: block(s.ca.Certificate.Raw),
		CertificatePem: block(cert.Raw), ExpireTime: timestamppb.New(cert.NotAfter)}, nil
}

// GetVersion is a release older than the command line's.
func (s *Server) GetVersion(context.Context,
	*cpv1.GetVersionRequest) (*cpv1.GetVersionResponse, error) {
	return &cpv1.GetVersionResponse{Version: "v1.2.2", GoVersion: "go1.25.4",
		Platform: "linux/amd64"}, nil
}

// Revoke says which certificates were good.
func (s *Server) Revoke(_ context.Context, req *cpv1.RevokeRequest) (*cpv1.RevokeResponse, error) {
	if req.GetName() != "servers/db2" && req.GetName() != "operators/alice" {
		return nil, notFound(req.GetName(), "ListServers")
	}
	return &cpv1.RevokeResponse{Serials: []string{"1f", "2a"}}, nil
}
