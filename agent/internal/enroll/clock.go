package enroll

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const introduceLimit = 15 * time.Second

// checkClock refuses a clock of this host that is too far from the control plane's: what the one
// issues is not good yet, or not any more, on the other. A control plane that does not answer says
// nothing of the clock.
func (e *Enroller) checkClock(ctx context.Context, addresses []string, pin string) error {
	for _, address := range addresses {
		bounded, cancel := context.WithTimeout(ctx, introduceLimit)
		in, err := Introduce(bounded, address, pin)
		cancel()
		if err != nil {
			continue
		}
		host := e.config.Now()
		apart := host.Sub(in.Time).Abs()
		if apart <= identity.MaxClockDifference {
			return nil
		}
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNAUTHENTICATED,
			fmt.Sprintf("the clocks are %s apart: this host has %s, the control plane at %s has %s",
				apart.Round(time.Minute), stamp(host), address, stamp(in.Time)),
			errs.WithHint("set the clock that is wrong (timedatectl set-ntp true); the agent "+
				"goes on by itself"))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// clockOf is checkClock for an identity that is not good at this time of this host.
func (e *Enroller) clockOf(ctx context.Context, haveErr error) error {
	if !hasExpired(haveErr) {
		return nil
	}
	if addresses, pin, err := e.ControlPlane(); err == nil {
		return e.checkClock(ctx, addresses, pin)
	}
	return nil
}
