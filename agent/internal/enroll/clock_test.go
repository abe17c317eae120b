package enroll_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// off is a host whose clock is wrong.
func off(by time.Duration) func(c *enroll.Config) {
	return func(c *enroll.Config) { c.Now = func() time.Time { return time.Now().Add(by) } }
}

// saysClock expects an error that names both clocks, and a hint to set one of them.
func saysClock(t *testing.T, err error, by time.Duration) {
	t.Helper()
	const hour = "2006-01-02T15"
	host, plane := time.Now().Add(by).UTC().Format(hour), time.Now().UTC().Format(hour)
	if !errors.Is(err, errs.FailedPrecondition) || !strings.Contains(err.Error(), host) ||
		!strings.Contains(err.Error(), plane) {
		t.Errorf("the clocks %s and %s are not in: %v", host, plane, err)
	}
	if hint := errs.HintOf(err).String(); !strings.Contains(hint, "clock") ||
		strings.Contains(hint, "join") {
		t.Errorf("hint: %s", hint)
	}
}

var wrongClocks = []time.Duration{32 * 24 * time.Hour, -32 * 24 * time.Hour, -3 * time.Hour}

func TestAWrongClockIsRefusedBeforeTheTokenIsShown(t *testing.T) {
	t.Parallel()
	for _, by := range wrongClocks {
		h := newHost(t, newPlane(t))
		h.give("t1")
		_, err := h.start(off(by)).Ensure(patience(t))
		saysClock(t, err, by)
		if len(h.plane.keys) > 0 {
			t.Error("it enrolled")
		}
		e := h.start()
		if _, err := e.Ensure(patience(t)); err != nil {
			t.Fatalf("once the clock is right: %v", err)
		}
		h.check(e)
	}
}

func TestAnIdentityThatIsOutOfDateByTheClockAloneComesBack(t *testing.T) {
	t.Parallel()
	for _, by := range wrongClocks {
		h := newHost(t, newPlane(t))
		h.joined("t1")
		_, err := h.start(off(by)).Ensure(patience(t))
		saysClock(t, err, by)
		saysClock(t, h.start(off(by)).Renew(patience(t)), by)
		if _, err := h.start().Ensure(patience(t)); err != nil {
			t.Errorf("once the clock is right: %v", err)
		}
	}
}

func TestAClockThatCertificatesAllowIsFine(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	h.give("t1")
	if _, err := h.start(off(20 * time.Minute)).Ensure(patience(t)); err != nil {
		t.Error(err)
	}
}
