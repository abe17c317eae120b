package ca_test

import (
	"crypto/x509"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// What some verifier would refuse is refused, with the reason, and nothing is changed.
func TestAnIntermediateIsRefused(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	good := e.offline()
	request := e.request()
	own := e.read("ca", "ca.pem")
	with := func(o *offline, change ...func(*x509.Certificate)) []byte {
		return append(o.sign(request, change...), encode(o.cert)...)
	}
	plain := func(change func(*x509.Certificate)) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.ExtraExtensions = nil
			c.BasicConstraintsValid, c.IsCA, c.MaxPathLenZero = true, true, true
			c.KeyUsage = x509.KeyUsageCertSign
			change(c)
		}
	}
	for why, chain := range map[string][]byte{
		"no certificate":             []byte("nothing"),
		"something else than":        request,
		"neither in the file nor":    good.sign(request),
		"must hold one intermediate": append(good.sign(request), good.sign(request)...),
		"holds 4 certificates":       append(with(good), with(good)...),
		"and no intermediate":        encode(good.cert),
		"it is not of the root":      append(good.sign(request), encode(e.offline().cert)...),
		"no certificate of an auth": with(good, plain(func(c *x509.Certificate) {
			c.IsCA = false
			c.MaxPathLenZero = false
		})),
		"may not sign certificates": with(good, plain(func(c *x509.Certificate) {
			c.KeyUsage = 0
		})),
		"has no path length of 0": with(good, plain(func(c *x509.Certificate) {
			c.MaxPathLenZero = false
		})),
		"name constraints": with(good, plain(func(c *x509.Certificate) {
			c.PermittedDNSDomains = []string{"x"}
		})),
		"extendedKeyUsage": with(good, plain(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})),
		"it expired on": with(good, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = e.clock.Now().Add(-day), e.clock.Now()
		}),
		"in less than 90 days": with(good, func(c *x509.Certificate) {
			c.NotAfter = e.clock.Now().Add(80 * day)
		}),
		"not valid before": with(good, func(c *x509.Certificate) {
			c.NotBefore = e.clock.Now().Add(day)
		}),
		"after its root": with(good, func(c *x509.Certificate) {
			c.NotAfter = good.cert.NotAfter.Add(day)
		}),
		"its name is": with(good, func(c *x509.Certificate) {
			c.RawSubject = nil
			c.Subject.CommonName = "Else"
		}),
		"another key than that of the": with(good, func(c *x509.Certificate) {
			c.PublicKey = &newKey(t).PublicKey
		}),
		"for the key that signs now": with(good, func(c *x509.Certificate) {
			c.PublicKey = parse(t, own).PublicKey
		}),
		"its path length is 0": with(e.offline(func(c *x509.Certificate) {
			c.MaxPathLenZero = true
		})),
		"of that name and another key": with(e.offline(func(c *x509.Certificate) {
			c.Subject = parse(t, own).Subject
		})),
		"Offline root\": it ends": with(e.offline(func(c *x509.Certificate) {
			c.NotAfter = e.clock.Now().Add(30 * day)
		})),
	} {
		_, err := e.install(chain)
		if errs.KindOf(err) != errs.InvalidArgument || errs.HintOf(err).Empty() ||
			!strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	e.check("after all that")
	if now := e.read("ca", "ca.pem"); string(now) != string(own) {
		t.Error("the roots are others")
	}
	e.installs(with(good))
	if _, err := ca.NewRotation(e.registry).RequestIntermediate(t.Context(),
		byRoot()); errs.KindOf(err) != errs.FailedPrecondition {
		t.Errorf("a request in the middle: %v", err)
	}
}
