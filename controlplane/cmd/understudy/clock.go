package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"google.golang.org/grpc"
	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// clockTimeout bounds what the time of the control plane may cost a command that failed already.
const clockTimeout = 5 * time.Second

// clocks is the error of a call, or what it comes from when the clock of this computer is the
// cause: a certificate is good by one clock and not by the other. One that was revoked is good by
// none.
func clocks(ctx context.Context, c *cli, err error) error {
	switch reason := errs.ReasonOf(err); {
	case c.flags.local, reason == errorsv1.Reason_REASON_CERTIFICATE_REVOKED:
		return err
	case errs.KindOf(err) != errs.Unauthenticated && reason != errorsv1.Reason_REASON_UNREACHABLE:
		return err
	}
	there, shown, timeErr := planeTime(ctx, c)
	here := c.Now()
	apart := here.Sub(there)
	if timeErr != nil || apart.Abs() <= identity.MaxClockDifference {
		return err
	}
	own, ownErr := identity.ReadCertificate(c.credentialFiles().Cert)
	if ownErr != nil || goodAt(own, here) == goodAt(own, there) &&
		goodAt(shown, here) == goodAt(shown, there) {
		return err // the clocks differ, and that is not why
	}
	side := "ahead of"
	if apart < 0 {
		side = "behind"
	}
	return usageError{
		message: fmt.Sprintf("the clock of this computer is %s %s that of the control plane, and "+
			"certificates are not good by both: here it is %s, at %s it is %s",
			apart.Abs().Round(time.Minute), side, stamp(here), c.flags.address, stamp(there)),
		hint: "set the clock that is wrong (`timedatectl set-ntp true`)"}
}

func goodAt(cert *x509.Certificate, at time.Time) bool {
	return !at.Before(cert.NotBefore) && !at.After(cert.NotAfter)
}

// planeTime is the time of the control plane, and the certificate of the CA that is believed here
// which it shows. It takes no certificate of either side to be in time.
func planeTime(ctx context.Context, c *cli) (at time.Time, shown *x509.Certificate, err error) {
	roots, err := identity.ReadRoots(c.credentialFiles().CA)
	if err != nil {
		return at, nil, err
	}
	conn, err := chassis.Dial(chassis.DialConfig{Address: c.flags.address, Deadline: clockTimeout,
		TLS: identity.ClientConfig{Source: &identity.Static{}, Expect: identity.ControlPlane(),
			Unverified: true}})
	if err != nil {
		return at, nil, err
	}
	defer conn.Close()
	var by peer.Peer
	answer, err := cpv1.NewEnrollmentServiceClient(conn).GetAuthority(ctx,
		&cpv1.GetAuthorityRequest{}, grpc.Peer(&by))
	if err != nil {
		return at, nil, err
	}
	info, _ := by.AuthInfo.(grpccredentials.TLSInfo)
	chain := info.State.PeerCertificates
	if err := identity.VerifyShown(roots, chain, identity.ControlPlane()); err != nil {
		return at, nil, err
	}
	return answer.GetTime().AsTime(), chain[0], nil
}
