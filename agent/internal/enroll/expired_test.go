package enroll_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// brief has certificates of agents that last shorter than those of MariaDB.
func brief(t *testing.T) *host {
	h := newHost(t, newPlane(t))
	h.plane.life, h.plane.mariadbLife = 30*time.Second, 24*time.Hour
	return h
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A control plane, or a host, that was away for longer than a certificate lasts costs nobody a new
// token: whoever has the key of the newest certificate gets another one. MariaDB's stays.
func TestAnExpiredIdentityComesBackByItsKey(t *testing.T) {
	t.Parallel()
	h := brief(t)
	first := h.joined("t1")
	serial, key := h.serial(first), contents(t, first.Files().Key)
	mariadb := contents(t, first.MariaDBFiles().Cert)
	h.plane.set(func() { h.plane.life = time.Hour / 2 })
	e := h.start(off(time.Minute))
	if name, err := e.Ensure(patience(t)); err != nil || name != "db-1" {
		t.Fatalf("%q %v", name, err)
	}
	h.check(e)
	if h.serial(e) == serial || !bytes.Equal(contents(t, e.Files().Key), key) {
		t.Error("not another certificate for the same key")
	}
	if !bytes.Equal(contents(t, e.MariaDBFiles().Cert), mariadb) {
		t.Error("MariaDB has another certificate")
	}
	if err := e.Renew(patience(t)); err != nil || len(h.plane.keys) != 3 ||
		h.plane.keys[2] == h.plane.keys[1] {
		t.Errorf("the next renewal: %v", err)
	}
}

// The answer to the last renewal was lost, and the control plane knows a newer key since: it is
// that of the identity which was prepared.
func TestAnExpiredIdentityComesBackAfterALostAnswer(t *testing.T) {
	t.Parallel()
	h := brief(t)
	e := h.joined("t1")
	key := contents(t, e.Files().Key)
	h.plane.set(func() {
		h.plane.after = func() error {
			return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE, "lost")
		}
	})
	if e.Renew(patience(t)) == nil {
		t.Fatal("no answer, and no error")
	}
	h.plane.set(func() { h.plane.after, h.plane.life = nil, time.Hour/2 })
	e = h.start(off(time.Minute))
	if _, err := e.Ensure(patience(t)); err != nil {
		t.Fatal(err)
	}
	h.check(e)
	if bytes.Equal(contents(t, e.Files().Key), key) {
		t.Error("the key of before, for which the control plane has an older certificate")
	}
}

// While the control plane is away, an agent that starts with an expired identity says that it waits
// for it, and asks for no token.
func TestAnExpiredIdentityWaitsForTheControlPlane(t *testing.T) {
	t.Parallel()
	h := brief(t)
	h.joined("t1")
	h.plane.set(func() {
		h.plane.after = func() error {
			return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE, "away")
		}
	})
	_, err := h.start(off(time.Minute)).Ensure(patience(t))
	if !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "expired") ||
		!strings.Contains(errs.HintOf(err).String(), "by itself") {
		t.Errorf("%v; %s", err, errs.HintOf(err))
	}
}

// runs has the agent look after its identity at a time, until the condition holds.
func runs(t *testing.T, e *enroll.Enroller, until func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(patience(t))
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !until() && ctx.Err() == nil {
		<-look.C
	}
	if ctx.Err() != nil {
		t.Error("it never came about")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The agent's certificate is renewed alone until half of the life of MariaDB's is over.
func TestMariaDBsCertificateIsRenewedByItsOwnLife(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		life    time.Duration
		renewed bool
	}{{24 * time.Hour, false}, {35 * time.Minute, true}} {
		h := newHost(t, newPlane(t))
		h.plane.mariadbLife = test.life
		e := h.joined("t1")
		before, mariadb := h.serial(e), contents(t, e.MariaDBFiles().Cert)
		generation := h.generation(e)
		e = h.start(off(28 * time.Minute))
		runs(t, e, func() bool { return h.serial(e) != before })
		h.check(e)
		if same := bytes.Equal(contents(t, e.MariaDBFiles().Cert), mariadb); same == test.renewed {
			t.Errorf("of %s: MariaDB's certificate stayed: %t", test.life, same)
		}
		if h.generation(e) != generation {
			t.Error("a renewal changed what the account on the primary demands")
		}
	}
}

// A renewal that fails is told once a quarter of the life is left, with the reason, and no more
// once it has succeeded.
func TestALateRenewalIsTold(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	e := h.joined("t1")
	cert, err := identity.ReadCertificate(e.Files().Cert)
	if err != nil {
		t.Fatal(err)
	}
	h.plane.set(func() {
		h.plane.after = func() error { return errors.New("no room") }
	})
	e = h.start(off(29 * time.Minute))
	late := func() bool { _, why := e.Late(); return why != nil }
	runs(t, e, late)
	if since, why := e.Late(); !strings.Contains(why.Error(), "no room") ||
		!since.Equal(identity.RenewTime(cert)) {
		t.Errorf("since %s: %v", since, why)
	}
	h.plane.set(func() { h.plane.after = nil })
	runs(t, e, func() bool { return !late() })
	var asked int
	h.plane.set(func() {
		h.plane.after = func() error { asked++; return errors.New("no room") }
	})
	e = h.start(off(24 * time.Minute)) // due, and not late
	runs(t, e, func() (twice bool) {
		h.plane.set(func() { twice = asked > 1 })
		return twice
	})
	if late() {
		t.Error("late with more than a quarter of its life left")
	}
}
