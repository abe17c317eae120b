package audit

import (
	"time"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// rate is how many records one caller causes.
type rate struct {
	burst float64
	every time.Duration // until there is room for another one
}

// refusals are recorded one by one up to this; what is over it is counted.
func refusals(role identity.Role) rate {
	if role == identity.RoleAnonymous {
		return rate{burst: 30, every: 10 * time.Second} // all of them together
	}
	return rate{burst: 100, every: 2 * time.Second}
}

// changes are allowed up to this; what is over it is refused. The control plane has no limit: its
// jobs have their own pace, and a host that refuses them helps nobody.
func changes(role identity.Role) (rate, bool) {
	switch role {
	case identity.RoleControlPlane:
		return rate{}, false
	case identity.RoleOperator, identity.RoleAdmin, identity.RoleBreakGlass:
		return rate{burst: 2000, every: 200 * time.Millisecond}, true
	}
	return rate{burst: 60, every: 30 * time.Second}, true // who renews, and no more
}

// bucket is what is left of a rate; the zero bucket is full.
type bucket struct {
	used float64
	at   time.Time
}

// take takes one, or says how long to wait for it.
func (b *bucket) take(r rate, now time.Time) time.Duration {
	b.used = max(0, b.used-float64(now.Sub(b.at))/float64(r.every))
	b.at = now
	if b.used+1 > r.burst {
		return time.Duration((b.used + 1 - r.burst) * float64(r.every))
	}
	b.used++
	return 0
}
