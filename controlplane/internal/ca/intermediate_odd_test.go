package ca_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// What one verifier would take and another one refuse, and what could not be read again once it is
// written, is refused.
func TestAnOddIntermediateIsRefused(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	key := newKey(t)
	e.reopen(inFiles(keyFile(t, key, 0o600)))
	good, request := e.offline(), e.request()
	own := parse(t, e.read("ca", "ca.pem"))
	extended := func(id asn1.ObjectIdentifier, value any) func(*x509.Certificate) {
		der, err := asn1.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Value: der})
		}
	}
	with := func(o *offline, change ...func(*x509.Certificate)) []byte {
		return append(o.sign(request, change...), encode(o.cert)...)
	}
	dry := func(chain []byte) error {
		_, err := ca.NewRotation(e.registry).Rotate(t.Context(), ca.RotateRequest{
			From: ca.PhaseSingle, Intermediate: chain, ValidateOnly: true, Caller: byRoot()})
		return err
	}
	reused := e.offline()
	reused.key, reused.cert.PublicKey = key, &key.PublicKey
	reused.cert = reused.issue(reused.cert, reused.cert, &key.PublicKey)
	for why, chain := range map[string][]byte{
		"for the key of its root": with(reused),
		"more than": with(good, func(c *x509.Certificate) {
			c.RawSubject = nil
			c.Subject = own.Subject
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{
				{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: own.Subject.CommonName},
				{Type: asn1.ObjectIdentifier{2, 5, 4, 42}, Value: "x"}}
		}),
		"policies to demand": with(good, extended(asn1.ObjectIdentifier{2, 5, 29, 36}, struct {
			Explicit int `asn1:"tag:0"`
		}{0})),
		"names a serial number": with(good, extended(asn1.ObjectIdentifier{2, 5, 29, 35}, struct {
			Key    []byte `asn1:"tag:0"`
			Serial int    `asn1:"tag:2"`
		}{good.cert.SubjectKeyId, 3})),
		"identifier of what signs now": with(good, func(c *x509.Certificate) {
			c.ExtraExtensions = nil
			c.BasicConstraintsValid, c.IsCA, c.MaxPathLenZero = true, true, true
			c.KeyUsage, c.SubjectKeyId = x509.KeyUsageCertSign, own.SubjectKeyId
		}),
		"of that name and another key": with(e.offline(func(c *x509.Certificate) {
			c.Subject.CommonName = strings.ToUpper(own.Subject.CommonName)
		})),
	} {
		err := dry(chain)
		if why == "more than" {
			why = "its name is"
		}
		if errs.KindOf(err) != errs.InvalidArgument || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	e.installs(with(good))
	e.succeeds()
	e.reopen(inFiles(keyFile(t, key, 0o600), keyFile(t, newKey(t), 0o600)))
	request = e.request()
	for why, root := range map[string]*offline{
		"of that name and another key": e.offline(),
		"the name of its root": e.offline(func(c *x509.Certificate) {
			c.Subject.CommonName = strings.ToUpper(own.Subject.CommonName)
		}),
		"it has the key that signs now": func() *offline {
			o := e.offline(func(c *x509.Certificate) { c.Subject.CommonName = "Third root" })
			o.key, o.cert.PublicKey = key, &key.PublicKey
			o.cert = o.issue(o.cert, o.cert, &key.PublicKey)
			return o
		}(),
	} {
		if err := dry(with(root)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// A root that was issued again for its key, with another end, is not given up with the certificate
// of before.
func TestARootIsIssuedAgain(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	root := e.offline()
	e.installs(append(root.sign(e.request()), encode(root.cert)...))
	e.succeeds()
	for range 2 {
		longer := *root.cert
		longer.NotAfter = longer.NotAfter.Add(365 * day)
		root.cert = root.issue(&longer, &longer, &root.key.PublicKey)
		e.installs(append(root.sign(e.request()), encode(root.cert)...))
		e.succeeds()
	}
}

// A step to what has ended meanwhile is refused: the control plane would not start with it.
func TestNoStepToAnIntermediateThatEnded(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	root := e.offline()
	e.installs(append(root.sign(e.request(), func(c *x509.Certificate) {
		c.NotAfter = e.clock.Now().Add(91 * day)
	}), encode(root.cert)...))
	e.clock.forward(92 * day)
	e.keep()
	before := e.read("ca", "ca.pem")
	e.refuses("the intermediate that would sign ended on")
	if !bytes.Equal(before, e.read("ca", "ca.pem")) {
		t.Error("the step was taken")
	}
	if _, err := ca.NewRotation(e.registry).Rotate(t.Context(), ca.RotateRequest{
		From: ca.PhaseIntroduced, Back: true, Caller: byRoot()}); err != nil {
		t.Errorf("no way back: %v", err)
	}
}

// A key of before is not taken by the way of a lost one either.
func TestALostIntermediateIsReplacedByNoKeyOfBefore(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	root := e.offline()
	first := append(root.sign(e.request()), encode(root.cert)...)
	key := e.read("ca", "request-key.pem")
	e.installs(first)
	e.succeeds()
	e.installs(root.sign(e.request()))
	e.succeeds()
	config := e.authority()
	config.Intermediate = filepath.Join(t.TempDir(), "chain.pem")
	for file, data := range map[string][]byte{config.Intermediate: first,
		filepath.Join(e.dir, "ca", "key.pem"): key} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ca.OpenAuthority(t.Context(), config); err == nil ||
		!strings.Contains(err.Error(), "was given up") {
		t.Errorf("a key of before: %v", err)
	}
}
