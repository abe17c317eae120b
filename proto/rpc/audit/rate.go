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

// detailed is how many refusals of one caller have their parameters; those behind them have their
// size and hash.
const detailed = 20

// refusedBytes are the KiB that the refusals of one caller take: any certificate of the fleet
// causes them.
var refusedBytes = rate{burst: 256, every: 20 * time.Second}

// kib is about what a record takes.
func kib(r Record) float64 {
	const frame = 300 // names, numbers, the hash
	return float64(frame+len(r.Who)+len(r.Method)+len(r.RequestID)+len(r.Parameters)+
		len(r.Error)) / 1024
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
func (b *bucket) take(r rate, now time.Time) time.Duration { return b.takeSome(1, r, now) }

func (b *bucket) takeSome(n float64, r rate, now time.Time) time.Duration {
	b.used = max(0, b.used-float64(now.Sub(b.at))/float64(r.every))
	b.at = now
	if b.used+n > r.burst {
		return time.Duration((b.used + n - r.burst) * float64(r.every))
	}
	b.used += n
	return 0
}
