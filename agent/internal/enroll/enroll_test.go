package enroll_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestJoinOnceAndStay(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	e := h.joined("t1")
	h.check(e)
	<-h.told
	serial := h.serial(e)
	again := h.start()
	if name, err := again.Ensure(patience(t)); err != nil || name != "db-1" ||
		h.serial(again) != serial {
		t.Errorf("%q %v", name, err)
	}
	if len(h.plane.keys) != 1 {
		t.Errorf("enrolled %d times", len(h.plane.keys))
	}
}

func TestLostAnswersCostNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	lost := 0
	h.plane.after = func() error {
		if lost++; lost <= 2 {
			return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE, "lost")
		}
		return nil
	}
	h.check(h.joined("t1"))
	if len(h.plane.keys) != 3 || h.plane.keys[0] != h.plane.keys[2] {
		t.Errorf("%d tries, not all with one key", len(h.plane.keys))
	}
}

// Each state is what a crash may leave; the token is bound to the key of before the crash.
func TestACrashBetweenAnyTwoWrites(t *testing.T) {
	t.Parallel()
	slot := filepath.Join("state", "identity", "a")
	states := []struct {
		name string
		gone []string
	}{
		{"all but the removal of the join file", nil},
		{"all but the link", []string{"state/identity/current"}},
		{"agent's certificate", []string{"state/identity/current", slot + "/cert.pem"}},
		{"CA", []string{"state/identity/current", slot + "/cert.pem", slot + "/ca.pem"}},
		{"MariaDB's certificate", []string{"state/identity/current", slot + "/cert.pem",
			slot + "/ca.pem", slot + "/mariadb/cert.pem"}},
		{"all certificates", []string{"state/identity/current", slot + "/cert.pem",
			slot + "/ca.pem", slot + "/mariadb/cert.pem", slot + "/mariadb/ca.pem"}},
	}
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			h := newHost(t, newPlane(t))
			h.joined("t1")
			for _, path := range state.gone {
				if err := os.Remove(h.path(path)); err != nil {
					t.Fatal(err)
				}
			}
			h.give("t1")
			e := h.start()
			if name, err := e.Ensure(patience(t)); err != nil || name != "db-1" {
				t.Fatalf("%q %v", name, err)
			}
			h.check(e)
		})
	}
}

func TestACrashBeforeTheTokenWasShown(t *testing.T) {
	t.Parallel()
	for _, left := range []string{"", "meta.json", "key.pem", "mariadb/key.pem"} {
		t.Run("left "+left, func(t *testing.T) {
			h := newHost(t, newPlane(t))
			h.give("t1")
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := h.start().Ensure(ctx); err == nil {
				t.Fatal("joined without time")
			}
			for _, name := range []string{"meta.json", "key.pem", "mariadb/key.pem"} {
				if name == left {
					break
				}
				if err := os.Remove(h.path("state", "identity", "a", name)); err != nil {
					t.Fatal(err)
				}
			}
			e := h.start()
			if _, err := e.Ensure(patience(t)); err != nil {
				t.Fatal(err)
			}
			h.check(e)
		})
	}
}

func TestRefusalsEndItAndSayTheHint(t *testing.T) {
	t.Parallel()
	stranger := identitytest.New(t)
	tests := []struct {
		name  string
		spoil func(*host)
		kind  error
		text  string
	}{
		{"used token", func(h *host) { h.plane.tokens["t1"] = "another key" },
			errs.PermissionDenied, "used with another key"},
		{"no join file", func(h *host) { os.Remove(h.path("join.json")) }, errs.FailedPrecondition,
			"never enrolled"},
		{"broken join file",
			func(h *host) { os.WriteFile(h.path("join.json"), []byte("{"), 0o600) },
			errs.FailedPrecondition, "join file"},
		{"join file of another CA", func(h *host) {
			h.give(
				"t1", func(f *identity.JoinFile) {
					f.CASPKISHA256 = identity.Pin(
						stranger.Certificate)
				})
		}, errs.FailedPrecondition, "pin"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t, newPlane(t))
			h.give("t1")
			test.spoil(h)
			_, err := h.start().Ensure(patience(t))
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.text) ||
				errs.HintOf(err).String() == "" {
				t.Errorf("%v; hint %q", err, errs.HintOf(err).String())
			}
			if strings.Contains(err.Error(), "t1") && test.name != "no join file" {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestAStrangerInTheControlPlanesPlaceGetsNothing(t *testing.T) {
	t.Parallel()
	ours, theirs := newPlane(t), newPlane(t)
	h := newHost(t, ours)
	h.give("t1", func(f *identity.JoinFile) {
		f.ControlPlane = []string{theirs.address,
			ours.address}
	})
	e := h.start()
	if _, err := e.Ensure(patience(t)); err != nil {
		t.Fatal(err)
	}
	h.check(e)
	if len(theirs.keys) != 0 {
		t.Error("showed the token to a stranger")
	}
}

func TestAnswersThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	spoils := map[string]func(*controlplanev1.Certificates){
		"no certificate": func(c *controlplanev1.Certificates) { c.AgentPem = nil },
		"swapped": func(c *controlplanev1.Certificates) {
			c.AgentPem,
				c.MariadbPem = c.MariadbPem, c.AgentPem
		},
		"another CA": func(c *controlplanev1.Certificates) {
			c.CaPem = encode(
				identitytest.New(t).Certificate)
		},
	}
	for name, spoil := range spoils {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, newPlane(t))
			h.plane.answer = spoil
			h.give("t1")
			if _, err := h.start().Ensure(patience(t)); err == nil ||
				!strings.Contains(err.Error(), "cannot be used") {
				t.Fatal(err)
			}
			h.plane.set(func() { h.plane.answer = nil })
			e := h.start()
			if _, err := e.Ensure(patience(t)); err != nil {
				t.Fatal(err)
			}
			h.check(e)
		})
	}
}

func TestAnExpiredIdentityNeedsANewJoinFile(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	h.plane.life, h.plane.refuses = 30*time.Second, true
	later := func(
		c *enroll.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Minute) }
	}
	h.joined("t1")
	_, err := h.start(later).Ensure(patience(t))
	if !errors.Is(err, errs.FailedPrecondition) || !strings.Contains(err.Error(), "expired") {
		t.Fatal(err)
	}
	h.plane.set(func() { h.plane.life = time.Hour / 2 })
	h.give("t2")
	e := h.start(later)
	if _, err := e.Ensure(patience(t)); err != nil {
		t.Fatal(err)
	}
	h.check(e)
}

func TestANewJoinFileReplacesAGoodIdentityAndABadOneDoesNot(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	first := h.serial(h.joined("t1"))
	h.plane.set(func() { h.plane.tokens["bad"] = "another key" })
	h.give("bad")
	e := h.start()
	if name, err := e.Ensure(patience(t)); err != nil || name != "db-1" || h.serial(e) != first {
		t.Errorf("%q %v", name, err)
	}
	if second := h.serial(h.joined("t2")); second == first {
		t.Error("the new join file was not used")
	}
	if len(h.plane.keys) != 2 || h.plane.keys[0] == h.plane.keys[1] {
		t.Error("the same key after joining again")
	}
}

// The same request renews once, also after a restart in between; the hook is called each time, for
// the agent may have been killed before it was. A request for a job is a rotation: what the account
// on the primary demands is another generation then, and by nothing else.
func TestARenewalThatIsAskedForTwice(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	e := h.joined("t1")
	<-h.told
	for n, test := range []struct {
		key     string
		renewed bool
	}{{"j/renew/1", true}, {"j/renew/1", false}, {"j/renew/2", true}, {"", true}, {"", true}} {
		before, generation := h.serial(e), h.generation(e)
		changed, until, err := e.RenewFor(patience(t), test.key)
		if err != nil || changed != test.renewed || (before != h.serial(e)) != test.renewed ||
			until.IsZero() {
			t.Errorf("%d: renewed %v until %s, %v", n, changed, until, err)
		}
		if rotated := h.generation(e) != generation; rotated != (test.renewed && test.key != "") {
			t.Errorf("%d: generation %s, was %s", n, h.generation(e), generation)
		}
		<-h.told
		e = h.start()
	}
	h.check(e)
}

func TestRenew(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	e := h.joined("t1")
	files, err := identity.NewFiles(e.Files())
	if err != nil {
		t.Fatal(err)
	}
	before, err := files.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		first := h.serial(e)
		if err := e.Renew(patience(t)); err != nil {
			t.Fatal(err)
		}
		h.check(e)
		if h.serial(e) == first {
			t.Error("the same certificate")
		}
	}
	if after, err := files.Credentials(); err != nil || after == before {
		t.Errorf("not taken by who uses it: %v", err)
	}
	if n := len(h.plane.keys); n != 4 || h.plane.keys[0] == h.plane.keys[1] {
		t.Errorf("%d certificates, or a key twice", n)
	}
}

func TestARenewalThatFailsLeavesWhatIsThere(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	e := h.joined("t1")
	serial := h.serial(e)
	spoils := []func(){
		func() { h.plane.after = func() error { return errors.New("boom") } },
		func() {
			h.plane.after, h.plane.answer = nil,
				func(c *controlplanev1.Certificates) { c.AgentPem = nil }
		},
	}
	for _, spoil := range spoils {
		h.plane.set(spoil)
		if err := e.Renew(patience(t)); err == nil ||
			!strings.Contains(err.Error(), "cannot renew the identity of db-1") {
			t.Error(err)
		}
		h.check(e)
		if h.serial(e) != serial {
			t.Error("the identity changed")
		}
	}
	h.plane.set(func() { h.plane.after, h.plane.answer = nil, nil })
	if err := e.Renew(patience(t)); err != nil {
		t.Error(err)
	}
}

func TestRunRenewsInTimeAndTellsUntilHeard(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	h.joined("t1")
	<-h.told
	told := make(chan struct{})
	e := h.start(func(c *enroll.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Hour / 2 * 9 / 10) }
		c.Changed = func(context.Context) error { close(told); return nil }
	})
	before := h.serial(e)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	select {
	case <-told:
	case <-patience(t).Done():
		t.Error("not renewed")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if h.serial(e) == before {
		t.Error("told of nothing")
	}
}

func TestRunUsesAJoinFileThatTurnsUp(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	e := h.joined("t1")
	<-h.told
	h.give("t2")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	select {
	case <-h.told:
	case <-patience(t).Done():
		t.Error("not used")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	h.check(e)
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := enroll.New(enroll.Config{}); err == nil {
		t.Error("no error")
	}
}
