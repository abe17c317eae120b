package main

import (
	"context"
	"crypto/x509"
	"fmt"

	"google.golang.org/grpc"
	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// introduction is what a control plane answers that is not verified yet.
type introduction struct {
	answer *cpv1.GetAuthorityResponse
	shown  []*x509.Certificate
}

// introduce asks a control plane for its CA and its time, and verifies nothing.
func introduce(ctx context.Context, address string) (in introduction, err error) {
	conn, err := chassis.Dial(chassis.DialConfig{Address: address, Deadline: clockTimeout,
		TLS: identity.ClientConfig{Source: &identity.Static{}, Expect: identity.ControlPlane(),
			Unverified: true}})
	if err != nil {
		return in, err
	}
	defer conn.Close()
	var by peer.Peer
	in.answer, err = cpv1.NewEnrollmentServiceClient(conn).GetAuthority(ctx,
		&cpv1.GetAuthorityRequest{}, grpc.Peer(&by))
	if err != nil {
		return in, err
	}
	info, _ := by.AuthInfo.(grpccredentials.TLSInfo)
	in.shown = info.State.PeerCertificates
	return in, nil
}

// introduced is the CA of that pin, which the control plane at the address has a certificate of.
func introduced(ctx context.Context, address, pin string) (*x509.CertPool, error) {
	parsed, err := identity.ParsePin(pin)
	if err != nil {
		return nil, usageError{message: "--ca-pin " + err.Error()}
	}
	in, err := introduce(ctx, address)
	if err != nil {
		return nil, err
	}
	if err := identity.VerifyIntroduced(in.answer.GetCaPem(), parsed, in.shown,
		identity.ControlPlane()); err != nil {
		return nil, usageError{
			message: fmt.Sprintf("%s is not the control plane of this pin: %v", address, err),
			hint:    "ask an admin for the pin, who sees it with `understudy ca status`"}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(in.answer.GetCaPem())
	return roots, nil
}
