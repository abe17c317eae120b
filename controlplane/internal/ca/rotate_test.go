package ca_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// estate is a fleet whose root is replaced: what each one shows and believes.
type estate struct {
	*house
	plane ca.Kept
	hosts map[string]ca.Bundle
	file  identity.JoinFile // that a machine is about to use
}

func newEstate(t *testing.T, servers ...string) *estate {
	t.Helper()
	return estateOf(build(t), servers...)
}

// estateOf is one with those hosts.
func estateOf(h *house, servers ...string) *estate {
	t := h.t
	t.Helper()
	e := &estate{house: h, hosts: map[string]ca.Bundle{}}
	e.plane = ca.Kept{Dir: filepath.Join(e.dir, "controlplane"), Identity: identity.ControlPlane()}
	e.keep()
	for _, server := range servers {
		e.hosts[server] = e.agent(server, newKey(t))
	}
	e.clock.forward(time.Minute)
	return e
}

func (e *estate) keep() {
	e.t.Helper()
	if err := e.registry.Keep(e.t.Context(), e.plane); err != nil {
		e.t.Fatal(err)
	}
	for server := range e.hosts { // a control plane that starts connects to all
		e.shown(server)
	}
}

// renew has a host renew; its answer is lost when it is not kept.
func (e *estate) renew(server string, kept bool) {
	e.t.Helper()
	bundle, err := e.registry.Renew(e.t.Context(), ca.RenewRequest{
		Peer: peer(e.t, e.hosts[server]), Keys: keys(e.t), TakesChain: true})
	if err != nil {
		e.t.Fatal(err)
	}
	if kept {
		e.hosts[server] = bundle
		e.shown(server)
	}
}

// shown is what a handshake with a host's agent has the control plane do.
func (e *estate) shown(server string) {
	e.t.Helper()
	if e.registry.Denied(peer(e.t, e.hosts[server]).Serial()) {
		e.t.Errorf("%s is revoked", server)
	}
}

func pool(t *testing.T, bundle []byte) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		t.Fatal("no roots")
	}
	return roots
}

// check sees that nobody refuses anybody: the control plane and each host, and each MariaDB and
// each other one.
func (e *estate) check(when string) {
	e.t.Helper()
	plane := pool(e.t, e.read("controlplane", "ca.pem"))
	believes := func(who string, roots *x509.CertPool, cert []byte) {
		e.t.Helper()
		_, err := parse(e.t, cert).Verify(x509.VerifyOptions{Roots: roots,
			Intermediates: pool(e.t, cert), CurrentTime: e.clock.Now(),
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err != nil {
			e.t.Errorf("%s: %s: %v", when, who, err)
		}
	}
	for name, host := range e.hosts {
		believes(name+" refuses the control plane", pool(e.t, host.CA),
			e.read("controlplane", "cert.pem"))
		believes("the control plane refuses "+name, plane, host.Agent)
		for other, primary := range e.hosts {
			believes(name+"'s MariaDB refuses that of "+other, pool(e.t, host.CA), primary.MariaDB)
		}
	}
	// Who joins knows the root of the join file alone.
	if e.file.Token == "" {
		e.file = e.joinFile("new")
	}
	roots, err := e.file.Roots()
	if err != nil {
		e.t.Fatal(err)
	}
	believes("a new host refuses the control plane", roots, e.read("controlplane", "cert.pem"))
}

// joined ends the join file that is out.
func (e *estate) joined() {
	e.t.Helper()
	e.clock.forward(15 * time.Minute)
	e.file = identity.JoinFile{}
}

// rotate takes a step, or says who is in the way.
func (e *estate) rotate(back bool) (ca.Status, error) {
	e.t.Helper()
	now, err := ca.NewRotation(e.registry).Status(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	return ca.NewRotation(e.registry).Rotate(e.t.Context(), ca.RotateRequest{From: now.Phase,
		Back: back, Caller: byRoot()})
}

// goes takes a step that is not refused.
func (e *estate) goes(to ca.Phase, back bool) ca.Status {
	e.t.Helper()
	status, err := e.rotate(back)
	if err != nil || status.Phase != to {
		e.t.Fatalf("went to %q, want %q: %v", status.Phase, to, err)
	}
	e.check("at the begin of " + string(to))
	e.clock.forward(2 * time.Second)
	return status
}

func (e *estate) refuses(named ...string) {
	e.t.Helper()
	_, err := e.rotate(false)
	if errs.KindOf(err) != errs.FailedPrecondition || errs.HintOf(err).Empty() {
		e.t.Fatalf("went on: %v", err)
	}
	for _, name := range named {
		if !strings.Contains(err.Error(), name) {
			e.t.Errorf("%s is not named: %v", name, err)
		}
	}
}

// The root is replaced while hosts renew one after the other, and one misses the answer: nobody
// refuses anybody at any moment, and the name of the root, which accounts of MariaDB demand, stays.
func TestTheRootIsReplacedAndNobodyIsRefused(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1", "db-2")
	before := parse(t, e.read("ca", "ca.pem"))
	e.check("before")
	if status := e.goes(ca.PhaseIntroduced, false); len(status.Roots) != 2 ||
		!status.Roots[0].Signs || status.Roots[0].Pin != identity.Pin(before) {
		t.Errorf("introduced: %+v", status)
	}
	e.refuses("servers/db-1", "servers/db-2")
	e.renew("db-1", true)
	e.check("one has heard of the successor")
	e.refuses("servers/db-2")
	e.renew("db-2", false) // it is on record, and does not know
	e.refuses("servers/db-2")
	e.registry = e.open() // a restart, at any time
	e.keep()
	e.refuses("servers/db-2")
	e.renew("db-2", true)
	if status := e.goes(ca.PhaseRenewing, false); status.Roots[1].Pin != identity.Pin(before) {
		t.Errorf("renewing: %+v", status)
	}
	e.refuses("servers/db-1", "servers/db-2", "servers/db-1 (MariaDB)")
	e.renew("db-2", true)
	e.check("the one that knew of nothing has renewed")
	e.refuses("servers/db-1")
	e.renew("db-1", true)
	e.refuses("servers/new (join token)")
	e.joined()
	e.registry = e.open()
	e.keep()
	e.goes(ca.PhaseSingle, false)
	after := parse(t, e.read("ca", "ca.pem"))
	if identity.Pin(after) == identity.Pin(before) ||
		after.Subject.String() != before.Subject.String() {
		t.Errorf("the root %s, before %s", after.Subject, before.Subject)
	}
	if parse(t, e.read("controlplane", "cert.pem")).CheckSignatureFrom(after) != nil {
		t.Error("the control plane's certificate is of the old root")
	}
	entries, err := os.ReadDir(filepath.Join(e.dir, "ca"))
	if err != nil || len(entries) != 3 { // with the public part of the key that went
		t.Errorf("left in the folder: %v %v", entries, err)
	}
	e.registry = e.open()
	e.renew("db-1", true)
	e.check("afterwards")
	if bundle := e.hosts["db-1"].CA; strings.Count(string(bundle), "BEGIN") != 1 {
		t.Errorf("the old root is handed out: %s", bundle)
	}
}

// There is a way back from each phase, in which nobody is refused either: what the successor signed
// has to be gone before it is believed no longer.
func TestTheWayBack(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	pin := identity.Pin(parse(t, e.read("ca", "ca.pem")))
	e.goes(ca.PhaseIntroduced, false)
	e.renew("db-1", true)
	e.goes(ca.PhaseSingle, true)
	e.goes(ca.PhaseIntroduced, false)
	e.refuses("servers/db-1") // that of the first try counts for nothing
	e.renew("db-1", true)
	e.goes(ca.PhaseRenewing, false)
	e.renew("db-1", true) // by the successor
	e.goes(ca.PhaseIntroduced, true)
	if _, err := e.rotate(true); errs.KindOf(err) != errs.FailedPrecondition {
		t.Errorf("believed no longer, while in use: %v", err)
	}
	e.renew("db-1", true)
	e.goes(ca.PhaseSingle, true)
	if now := identity.Pin(parse(t, e.read("ca", "ca.pem"))); now != pin {
		t.Errorf("the root is %s, was %s", now, pin)
	}
	if _, err := e.rotate(true); errs.KindOf(err) != errs.FailedPrecondition {
		t.Errorf("back from where nothing is replaced: %v", err)
	}
	_, err := ca.NewRotation(e.registry).Rotate(t.Context(), ca.RotateRequest{
		From: ca.PhaseRenewing, Caller: byRoot()})
	if errs.KindOf(err) != errs.FailedPrecondition {
		t.Errorf("a request of another phase: %v", err)
	}
}

// Whoever may come back with an expired certificate is waited for, and whoever was revoked is not.
func TestWhoIsWaitedFor(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "away", "gone")
	e.goes(ca.PhaseIntroduced, false)
	e.clock.forward(5 * day)
	e.refuses("servers/away", "servers/gone")
	e.revoke(identity.Agent("gone"))
	status, err := ca.NewRotation(e.registry).Status(t.Context())
	if err != nil || len(status.Lagging) != 1 || status.Lagging[0].Name != "servers/away" {
		t.Errorf("waits for %+v: %v", status.Lagging, err)
	}
	e.clock.forward(30 * day) // past its grace
	status, err = ca.NewRotation(e.registry).Status(t.Context())
	if err != nil || len(status.Lagging) > 0 {
		t.Errorf("waits for %+v: %v", status.Lagging, err)
	}
}

// The control plane can end between any two writes of a step.
func TestAReplacementSurvivesAnEndBetweenTwoWrites(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	file := func(name string) string { return filepath.Join(e.dir, "ca", name) }
	left := e.read("controlplane", "key.pem")
	for _, name := range []string{"next-key.pem", "next-signed"} { // of an earlier try
		if err := os.WriteFile(file(name), left, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.registry = e.open()
	e.keep()
	e.goes(ca.PhaseIntroduced, false)
	if slices.Equal(left, e.read("ca", "next-key.pem")) {
		t.Error("what was left of an earlier try became the successor")
	}
	e.renew("db-1", true)
	e.goes(ca.PhaseRenewing, false)
	e.renew("db-1", true)
	e.joined()
	old, next := e.read("ca", "key.pem"), e.read("ca", "next-key.pem")
	e.goes(ca.PhaseSingle, false)
	for name, key := range map[string][]byte{"key.pem": old, "next-key.pem": next} {
		if err := os.WriteFile(file(name), key, 0o600); err != nil { // before the key moved
			t.Fatal(err)
		}
	}
	e.registry = e.open()
	e.keep()
	e.check("after an end before the key moved")
	if !slices.Equal(e.read("ca", "key.pem"), next) {
		t.Error("the key of the old root is still there")
	}
	if err := os.WriteFile(file("ca.pem"), append(e.read("ca", "ca.pem"),
		encode(parse(t, e.hosts["db-1"].Agent))...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.OpenAuthority(t.Context(), ca.AuthorityConfig{Dir: filepath.Join(e.dir, "ca"),
		Now: e.clock.Now, Logger: quiet()}); err == nil ||
		!strings.Contains(err.Error(), "not its root right after it") {
		t.Errorf("a certificate that is no root's: %v", err)
	}
}

// A root that has ended is replaced when that is asked for, under its name, and one that still
// signs is not.
func TestALostRootIsReplacedWhenAskedFor(t *testing.T) {
	t.Parallel()
	for what, lose := range map[string]func(e *estate) error{
		"ended": func(e *estate) error { e.clock.forward(11 * 365 * day); return nil },
		"without its key": func(e *estate) error {
			return os.Remove(filepath.Join(e.dir, "ca", "key.pem"))
		},
	} {
		e := newEstate(t, "db-1")
		before := parse(t, e.read("ca", "ca.pem"))
		open := func(replace bool) error {
			config := e.authority()
			config.ReplaceLost = replace
			_, err := ca.OpenAuthority(t.Context(), config)
			return err
		}
		if err := open(true); err != nil || !parse(t, e.read("ca", "ca.pem")).Equal(before) {
			t.Errorf("%s: replaced before it was: %v", what, err)
		}
		if err := lose(e); err != nil {
			t.Fatal(err)
		}
		if what == "ended" {
			if open(false) == nil {
				t.Error("a root that has ended is used")
			}
		}
		if err := open(true); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		after := parse(t, e.read("ca", "ca.pem"))
		if after.Equal(before) || after.Subject.String() != before.Subject.String() ||
			!parse(t, e.read("ca", "ca.pem.lost")).Equal(before) {
			t.Errorf("%s: %s after %s", what, after.Subject, before.Subject)
		}
		e.registry = e.open()
		e.keep()
		e.agent("db-1", newKey(t))
	}
}
