package replication

import (
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// Clock is what the host's clock and the control plane's show at one moment, give or take a call.
// The zero value says nothing.
type Clock struct{ Host, Here time.Time }

// shownTo is how exactly the clocks are shown: what is said of them stays the same for a while.
const shownTo = 10 * time.Minute

// Problem says that the clocks are too far apart for certificates to be good on both sides; empty
// when they are not.
func (c Clock) Problem() string {
	if c.Host.IsZero() || c.Host.Sub(c.Here).Abs() <= identity.MaxClockDifference {
		return ""
	}
	return fmt.Sprintf("the clocks are %s apart: the host has %s, the control plane has %s",
		c.Host.Sub(c.Here).Abs().Round(time.Hour), shown(c.Host), shown(c.Here))
}

func shown(t time.Time) string {
	return t.UTC().Truncate(shownTo).Format("2006-01-02 15:04 MST")
}
