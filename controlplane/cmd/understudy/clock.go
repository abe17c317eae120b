package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
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
	in, err := introduce(ctx, c.flags.address)
	if err != nil {
		return at, nil, err
	}
	if err := identity.VerifyShown(roots, in.shown, identity.ControlPlane()); err != nil {
		return at, nil, err
	}
	return in.answer.GetTime().AsTime(), in.shown[0], nil
}
