package ca_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A certificate that is on record, and whose answer was lost, counts once the host has shown it.
func TestALostAnswerIsWaitedFor(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	e.goes(ca.PhaseIntroduced, false)
	e.renew("db-1", true)
	e.goes(ca.PhaseRenewing, false)
	e.renew("db-1", false)
	e.joined()
	e.refuses("servers/db-1", "servers/db-1 (MariaDB)")
	e.renew("db-1", true)
	e.goes(ca.PhaseSingle, false)
}

// A host that was left behind, whatever the reason, comes back by the key on record, although no
// root believes its certificate any more. One that is on no record does not.
func TestAHostOfARootThatWentComesBack(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	key, other := newKey(t), newKey(t)
	left := e.agent("left", key)
	e.goes(ca.PhaseIntroduced, false)
	bundle, err := e.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, left),
		Keys: keys(t)})
	if err != nil {
		t.Fatal(err)
	}
	e.registry.Denied(peer(t, bundle).Serial()) // shown, and gone with a snapshot of the host
	e.goes(ca.PhaseRenewing, false)
	newer, err := e.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, left),
		Keys: ca.Keys{Agent: csr(t, key), MariaDB: csr(t, newKey(t))}})
	if err != nil {
		t.Fatal(err)
	}
	e.registry.Denied(peer(t, newer).Serial())
	e.joined()
	e.goes(ca.PhaseSingle, false)
	_, err = e.expired(left.Agent, other)
	refusedFor(t, err, errorsv1.Reason_REASON_UNAUTHENTICATED, "no certificate on record")
	foreign := newEstate(t)
	_, err = e.expired(foreign.agent("left", key).Agent, key)
	refusedFor(t, err, errorsv1.Reason_REASON_UNAUTHENTICATED, "no certificate of this CA")
	if _, err := e.expired(left.Agent, key); err != nil {
		t.Errorf("of the root that went, before its end: %v", err)
	}
}

// A clock that was ahead, and is set right, has nobody counted who shows a certificate of before,
// and nobody lag who renewed since.
func TestAClockThatWasAheadHidesNobody(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	e.goes(ca.PhaseIntroduced, false)
	e.clock.forward(50 * time.Minute) // wrong
	e.renew("db-1", true)
	e.clock.forward(-50 * time.Minute) // right again
	e.goes(ca.PhaseRenewing, false)
	e.joined()
	e.refuses("servers/db-1")
	e.renew("db-1", true)
	e.goes(ca.PhaseSingle, false)
	e.clock.forward(50 * time.Minute)
	e.goes(ca.PhaseIntroduced, false)
	e.clock.forward(-50 * time.Minute)
	e.renew("db-1", true)
	status, err := ca.NewRotation(e.registry).Status(t.Context())
	if err != nil || len(status.Lagging) > 0 {
		t.Errorf("renewed, and lags: %+v %v", status.Lagging, err)
	}
	e.check("afterwards")
}

// A successor that was given up leaves no key, also where the control plane ended before that went.
func TestNoKeyIsLeftOfASuccessorThatWasGivenUp(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	e.goes(ca.PhaseIntroduced, false)
	next := e.read("ca", "next-key.pem")
	e.goes(ca.PhaseSingle, true)
	file := filepath.Join(e.dir, "ca", "next-key.pem")
	if err := os.WriteFile(file, slices.Clone(next), 0o600); err != nil {
		t.Fatal(err)
	}
	e.registry = e.open()
	e.keep()
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	e.check("afterwards")
}

// Of two control planes with one folder the one that did not take the last step takes none: it
// would write what it has in memory.
func TestAControlPlaneThatMissedAStepTakesNone(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	second := e.open()
	e.goes(ca.PhaseIntroduced, false)
	before := e.read("ca", "next-key.pem")
	_, err := ca.NewRotation(second).Rotate(t.Context(), ca.RotateRequest{From: ca.PhaseSingle,
		Caller: byRoot()})
	if errs.KindOf(err) != errs.FailedPrecondition || errs.HintOf(err).Empty() {
		t.Errorf("it took the first step again: %v", err)
	}
	if !slices.Equal(before, e.read("ca", "next-key.pem")) {
		t.Error("the key of the successor is another one")
	}
	e.registry = e.open()
	e.keep()
	e.goes(ca.PhaseRenewing, false)
}

// A root whose files cannot be read at the moment is not lost, and stays.
func TestARootThatIsNotLostIsNotReplaced(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	before := e.read("ca", "ca.pem")
	left := filepath.Join(e.dir, "ca", "next-key.pem")
	if err := os.WriteFile(left, nil, 0o600); err != nil { // as a full disk leaves a copy
		t.Fatal(err)
	}
	if _, err := ca.OpenAuthority(t.Context(), ca.AuthorityConfig{Dir: filepath.Join(e.dir, "ca"),
		ReplaceLost: true, Now: e.clock.Now, Logger: quiet()}); err == nil {
		t.Error("a key without content was taken for none")
	}
	if !slices.Equal(before, e.read("ca", "ca.pem")) {
		t.Error("the root was replaced")
	}
}

// Whether one server lags is asked of it alone, however others begin.
func TestWhetherOneServerLags(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1", "db-10")
	lags := func(when string, want map[string]bool) {
		t.Helper()
		for server, lags := range want {
			got, err := ca.NewRotation(e.registry).Lags(t.Context(), server)
			if err != nil || got != lags {
				t.Errorf("%s: %s lags: %v, %v", when, server, got, err)
			}
		}
	}
	lags("one root", map[string]bool{"db-1": false, "db-10": false})
	e.goes(ca.PhaseIntroduced, false)
	lags("introduced", map[string]bool{"db-1": true, "db-10": true, "db-": false})
	e.renew("db-1", true)
	lags("one has renewed", map[string]bool{"db-1": false, "db-10": true})
	e.renew("db-10", false)
	lags("one has not shown it", map[string]bool{"db-1": false, "db-10": true})
}
