package enroll_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// An enrolment that gets no answer goes on for ever; a renewal that waits for it has an end.
func TestARenewalDuringAnEnrolmentEndsInTime(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	e := h.joined("t1")
	<-h.told
	asked := make(chan struct{}, 1)
	h.plane.set(func() {
		h.plane.after = func() error {
			select {
			case asked <- struct{}{}:
			default:
			}
			return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE, "lost")
		}
	})
	h.give("t2")
	ctx, cancel := context.WithCancel(t.Context())
	joined := make(chan error, 1)
	go func() { _, err := e.Ensure(ctx); joined <- err }()
	<-asked
	over, end := context.WithCancel(t.Context())
	end()
	if _, _, err := e.RenewFor(over, "j/renew/1"); !errors.Is(err, context.Canceled) ||
		!strings.Contains(err.Error(), "enrolment goes on") {
		t.Errorf("renewed: %v", err)
	}
	cancel()
	<-joined
}
