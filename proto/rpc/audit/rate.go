package audit

import (
	"maps"
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
		return rate{burst: 40, every: 10 * time.Second} // all of them together
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
	case identity.RoleAnonymous: // all machines that enrol together
		return rate{burst: 1000, every: 500 * time.Millisecond}, true
	}
	return rate{burst: 60, every: 30 * time.Second}, true // who renews, and no more
}

// enrolments are those of one address, with a good token each: a rack behind one address joins at
// once, and who repeats one token leaves room for the others.
var enrolments = rate{burst: 120, every: 5 * time.Second}

// changedBytes are the KiB that the allowed calls of one caller take with their parameters.
var changedBytes = rate{burst: 4096, every: 500 * time.Millisecond}

// mostAddresses bounds what is remembered: strangers cannot make it grow.
const mostAddresses = 4096

// crowd is a bucket for each of many callers.
type crowd map[string]*bucket

// take takes one of a caller. When there are too many, those who have all of their rate again are
// forgotten, and everybody when nobody has: better to be lenient than to grow.
func (c crowd) take(who string, r rate, now time.Time) time.Duration {
	if c[who] == nil && len(c) >= mostAddresses {
		maps.DeleteFunc(c, func(_ string, b *bucket) bool { return b.full(r, now) })
		if len(c) >= mostAddresses {
			clear(c)
		}
	}
	return of(c, who).take(r, now)
}

// bucket is what is left of a rate; the zero bucket is full.
type bucket struct {
	used float64
	at   time.Time
}

// take takes one, or says how long to wait for it.
func (b *bucket) take(r rate, now time.Time) time.Duration { return b.takeSome(1, r, now) }

// full says whether nothing is missing.
func (b *bucket) full(r rate, now time.Time) bool {
	return b.used <= float64(now.Sub(b.at))/float64(r.every)
}

func (b *bucket) takeSome(n float64, r rate, now time.Time) time.Duration {
	b.used = max(0, b.used-float64(now.Sub(b.at))/float64(r.every))
	b.at = now
	if b.used+n > r.burst {
		return time.Duration((b.used + n - r.burst) * float64(r.every))
	}
	b.used += n
	return 0
}
