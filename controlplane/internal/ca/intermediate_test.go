package ca_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// offline is a root that no control plane has the key of.
type offline struct {
	t    *testing.T
	now  func() time.Time
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func (h *house) offline(change ...func(*x509.Certificate)) *offline {
	h.t.Helper()
	o := &offline{t: h.t, now: h.clock.Now, key: newKey(h.t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(7),
		Subject: pkix.Name{CommonName: "Offline root"}, NotBefore: o.now(),
		NotAfter: o.now().Add(20 * 365 * day), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	for _, c := range change {
		c(template)
	}
	o.cert = o.issue(template, template, &o.key.PublicKey)
	return o
}

func (o *offline) issue(template, parent *x509.Certificate,
	key crypto.PublicKey) *x509.Certificate {
	o.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		o.t.Fatal(err)
	}
	return cert
}

// sign does what the request asks for, for two years, unless it is changed.
func (o *offline) sign(request []byte, change ...func(*x509.Certificate)) []byte {
	o.t.Helper()
	block, _ := pem.Decode(request)
	if block == nil {
		o.t.Fatalf("no request: %s", request)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		o.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(8), RawSubject: csr.RawSubject,
		NotBefore: o.now(), NotAfter: o.now().Add(2 * 365 * day), ExtraExtensions: csr.Extensions}
	for _, c := range change {
		c(template)
	}
	key := csr.PublicKey
	if template.PublicKey != nil {
		key = template.PublicKey
	}
	return encode(o.issue(template, o.cert, key))
}

func (e *estate) request() []byte {
	e.t.Helper()
	request, err := ca.NewRotation(e.registry).RequestIntermediate(e.t.Context(), byRoot())
	if err != nil {
		e.t.Fatal(err)
	}
	return request
}

func (e *estate) install(chain []byte) (ca.Status, error) {
	return ca.NewRotation(e.registry).Rotate(e.t.Context(), ca.RotateRequest{
		From: ca.PhaseSingle, Intermediate: chain, Caller: byRoot()})
}

// installs begins with an intermediate that is not refused.
func (e *estate) installs(chain []byte) ca.Status {
	e.t.Helper()
	status, err := e.install(chain)
	if err != nil || status.Phase != ca.PhaseIntroduced {
		e.t.Fatalf("not installed: %v", err)
	}
	e.check("the intermediate is installed")
	e.clock.forward(2 * time.Second)
	return status
}

// succeeds has what is installed sign alone.
func (e *estate) succeeds() ca.Status {
	e.t.Helper()
	e.renew("db-1", true)
	e.clock.forward(2 * time.Hour)
	e.goes(ca.PhaseRenewing, false)
	e.renew("db-1", true)
	e.joined()
	return e.goes(ca.PhaseSingle, false)
}

func certificates(t *testing.T, data []byte) (all []*x509.Certificate) {
	t.Helper()
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, parse(t, pem.EncodeToMemory(block)))
	}
	return all
}

// A fleet moves to an intermediate of a root whose key is elsewhere, while hosts renew one after
// the other, and nobody refuses anybody at any moment. Afterwards the hosts believe that root
// alone, and what issues has the name of before, which accounts of MariaDB demand.
func TestAFleetMovesToAnIntermediate(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1", "db-2")
	before, root := parse(t, e.read("ca", "ca.pem")), e.offline()
	chain := append(root.sign(e.request()), encode(root.cert)...)
	if again := append(root.sign(e.request()), encode(root.cert)...); string(parse(t,
		again).RawSubjectPublicKeyInfo) != string(parse(t, chain).RawSubjectPublicKeyInfo) {
		t.Error("a repeated request is for another key")
	}
	status := e.installs(chain)
	if len(status.Roots) != 2 || !status.Roots[0].Signs || status.Roots[0].Intermediate != nil ||
		status.Roots[1].Pin != identity.Pin(root.cert) ||
		status.Roots[1].Intermediate.Pin != identity.Pin(parse(t, chain)) {
		t.Errorf("introduced: %+v", status)
	}
	e.refuses("less than two hours")
	e.clock.forward(2 * time.Hour)
	e.refuses("servers/db-1", "servers/db-2")
	e.renew("db-1", true)
	e.renew("db-2", true)
	e.registry = e.open() // a restart, at any time
	e.keep()
	e.goes(ca.PhaseRenewing, false)
	e.renew("db-2", true)
	e.check("one shows what the intermediate signed")
	e.registry = e.open()
	e.keep()
	e.check("after a restart")
	e.refuses("servers/db-1", "servers/db-1 (MariaDB)")
	e.renew("db-1", true)
	e.joined()
	e.goes(ca.PhaseSingle, false)
	e.registry = e.open()
	e.keep()
	e.renew("db-1", true)
	e.check("afterwards")
	host := e.hosts["db-1"]
	if roots := certificates(t, host.CA); len(roots) != 1 || !roots[0].Equal(root.cert) {
		t.Errorf("the hosts believe %d roots", len(roots))
	}
	for what, shown := range map[string][]byte{"agent": host.Agent, "MariaDB": host.MariaDB,
		"control plane": e.read("controlplane", "cert.pem")} {
		all := certificates(t, shown)
		if len(all) != 2 || string(all[0].RawIssuer) != string(before.RawSubject) ||
			!all[1].Equal(parse(t, chain)) {
			t.Errorf("%s shows %d certificates, issued by %s", what, len(all), all[0].Issuer)
		}
	}
	if file := e.joinFile("db-3"); file.CASPKISHA256 != identity.Pin(root.cert) {
		t.Errorf("who joins believes %s", file.CASPKISHA256)
	}
	if left, err := filepath.Glob(filepath.Join(e.dir, "ca", "*")); err != nil || len(left) != 3 {
		t.Errorf("left in the folder: %v %v", left, err) // with the public part of the old key
	}
	if ends := ca.NewRotation(e.registry).RootExpires(); !ends.Equal(parse(t, chain).NotAfter) {
		t.Errorf("the alert is for %s", ends)
	}
}

// Another intermediate of the same root comes alone, and so does one of another root; the control
// plane makes no root of its own in its place unless that is asked for.
func TestAnIntermediateIsReplaced(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	first, second := e.offline(), e.offline(func(c *x509.Certificate) {
		c.Subject.CommonName = "Another root"
	})
	name := parse(t, e.read("ca", "ca.pem")).Subject.String()
	e.installs(append(encode(first.cert), first.sign(e.request())...)) // the root may come first
	e.succeeds()
	e.installs(first.sign(e.request()))
	e.renew("db-1", true)
	if bundle := e.hosts["db-1"].CA; strings.Count(string(bundle), "BEGIN") != 1 {
		t.Errorf("one root twice: %s", bundle)
	}
	e.succeeds()
	e.refuses("no successor of it can be made")
	e.installs(append(second.sign(e.request()), encode(second.cert)...))
	e.succeeds()
	if _, err := e.install(append(first.sign(e.request()),
		encode(first.cert)...)); err == nil || !strings.Contains(err.Error(), "given up before") {
		t.Errorf("a root of before: %v", err)
	}
	if _, err := ca.NewRotation(e.registry).Rotate(t.Context(), ca.RotateRequest{
		From: ca.PhaseSingle, OwnRoot: true, Caller: byRoot()}); err != nil {
		t.Fatal(err)
	}
	e.check("a root of its own is believed beside it")
	e.clock.forward(2 * time.Second)
	e.succeeds()
	if own := certificates(t, e.read("ca", "ca.pem")); len(own) != 1 ||
		own[0].Subject.String() != name {
		t.Errorf("a root of its own: %d, %s", len(own), own[0].Subject)
	}
}

// What was given up before it signed is installed again; what has signed is not, its root is.
func TestTheWayBackFromAnIntermediate(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	root := e.offline()
	chain := append(root.sign(e.request()), encode(root.cert)...)
	e.installs(chain)
	e.renew("db-1", true)
	e.goes(ca.PhaseSingle, true)
	e.installs(chain)
	e.renew("db-1", true)
	e.clock.forward(2 * time.Hour)
	e.goes(ca.PhaseRenewing, false)
	e.renew("db-1", true)
	e.goes(ca.PhaseIntroduced, true)
	e.renew("db-1", true)
	e.goes(ca.PhaseSingle, true)
	if _, err := e.install(chain); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("a key that has signed: %v", err)
	}
	e.installs(append(root.sign(e.request()), encode(root.cert)...))
	e.succeeds()
}

// The control plane can end between any two writes of an installation.
func TestAnInstallationSurvivesAnEndBetweenTwoWrites(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	root := e.offline()
	request, own := e.request(), e.read("ca", "ca.pem")
	chain := append(root.sign(request), encode(root.cert)...)
	file := func(name string) string { return filepath.Join(e.dir, "ca", name) }
	put := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(file(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("next-key.pem", e.read("ca", "request-key.pem")) // before the roots were written
	e.registry = e.open()
	e.keep()
	e.check("the key alone was copied")
	e.installs(chain)
	e.renew("db-1", true)
	e.clock.forward(2 * time.Hour)
	e.goes(ca.PhaseRenewing, false)
	e.renew("db-1", true)
	e.joined()
	key, next := e.read("ca", "key.pem"), e.read("ca", "next-key.pem")
	e.goes(ca.PhaseSingle, false)
	put("key.pem", key) // before the keys were put right
	put("next-key.pem", next)
	put("request-key.pem", next)
	e.registry = e.open()
	e.keep()
	e.renew("db-1", true)
	e.check("after an end before the key moved")
	if found := e.secrets(); len(found) != 1 || string(e.read("ca", "key.pem")) != string(next) {
		t.Errorf("keys in %v", found)
	}
	put("ca.pem", append(root.sign(request), own...))
	if _, err := ca.OpenAuthority(t.Context(), e.authority()); err == nil ||
		!strings.Contains(err.Error(), "the one after it did not sign") {
		t.Errorf("an intermediate before another root: %v", err)
	}
}

// The key of an intermediate can be in a signer, or in a file elsewhere, like that of a root.
func TestAnIntermediateWhoseKeyIsElsewhere(t *testing.T) {
	t.Parallel()
	for what, keys := range map[string]func(*ca.AuthorityConfig){
		"signer": inSigner(newHSM(t)), "file": inFiles(keyFile(t, newKey(t), 0o600)),
	} {
		e := newEstate(t, "db-1")
		e.reopen(keys)
		root := e.offline()
		e.installs(append(root.sign(e.request()), encode(root.cert)...))
		e.succeeds()
		if found := e.secrets(); len(found) > 0 {
			t.Errorf("%s: a private key in %v", what, found)
		}
		e.reopen(keys)
		e.renew("db-1", true)
		e.check(what + " after a restart")
	}
}

// Nothing that an intermediate signs outlives it, and one that ended is not used.
func TestNothingOutlivesTheIntermediate(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	root := e.offline()
	e.installs(append(root.sign(e.request(), func(c *x509.Certificate) {
		c.NotAfter = e.clock.Now().Add(91 * day)
	}), encode(root.cert)...))
	e.succeeds()
	e.clock.forward(90 * day)
	ends := certificates(t, e.read("ca", "ca.pem"))[0].NotAfter
	bundle := e.agent("db-2", newKey(t))
	if mariadb := parse(t, bundle.MariaDB); !mariadb.NotAfter.Equal(ends) {
		t.Errorf("MariaDB's ends on %s, the intermediate on %s", mariadb.NotAfter, ends)
	}
	e.clock.forward(2 * day)
	if _, err := ca.OpenAuthority(t.Context(), e.authority()); err == nil ||
		!strings.Contains(err.Error(), "the intermediate in") {
		t.Errorf("one that ended: %v", err)
	}
}
