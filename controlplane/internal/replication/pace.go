package replication

import "time"

// Pace estimates how long a replica still needs. The zero value is ready; feed it with what is
// missing, as it shrinks.
type Pace struct {
	began time.Time
	first int64
	last  int64
}

// Observe takes one look: so much is missing at that time.
func (p *Pace) Observe(now time.Time, missing int64) {
	if p.began.IsZero() || missing > p.first {
		p.began, p.first = now, missing
	}
	p.last = missing
}

// Progress is what is done of what there was when it began.
func (p *Pace) Progress() (done, total int64) { return p.first - p.last, p.first }

// Remaining estimates the time until nothing is missing; false while it cannot be told.
func (p *Pace) Remaining(now time.Time) (time.Duration, bool) {
	done, spent := p.first-p.last, now.Sub(p.began)
	if done <= 0 || spent <= 0 || p.last < 0 {
		return 0, false
	}
	return time.Duration(float64(spent) / float64(done) * float64(p.last)).Round(
		100 * time.Millisecond), true
}
