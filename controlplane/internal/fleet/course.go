package fleet

import "time"

// relapseWithin is how long a server has to be well for its next illness to be no relapse, and the
// longest time that it has to be well for to count as healthy.
const relapseWithin = time.Minute

// leastCalm is the least time that a server has to be well for after a relapse, where one is to be
// DEGRADED at once: else what comes and goes would be an event at each sample.
const leastCalm = time.Second

// calm is how long a server has to be well for after its first relapse.
func (c MonitorConfig) calm() time.Duration { return max(c.DegradedAfter, leastCalm) }

// oftenIll is the number of relapses from which on an illness is said to come and go.
const oftenIll = 2

// course is how the health of a server goes. What comes and goes is not healthy: from the first
// relapse on a server has to be well for a time to count as healthy, twice as long after each one.
type course struct {
	since    time.Time // when it was well last, before this illness
	ill      time.Time // when it was ill last; zero for never
	well     time.Time // when it was well last
	better   time.Time // since when it is well; zero while it is ill
	relapses int
}

// observe takes what was true at a time; calm is how long it has to be well after a relapse.
func (c *course) observe(at time.Time, ill bool, calm time.Duration) {
	if !ill {
		if c.better.IsZero() {
			c.better = at
		}
		if at.After(c.well) {
			c.well = at
		}
		return
	}
	if !c.better.IsZero() {
		if c.settled(calm) {
			c.since = c.well
		}
		c.relapses++
		if c.ill.IsZero() || at.Sub(c.ill) >= relapseWithin {
			c.relapses = 0
		}
	}
	c.ill, c.better = at, time.Time{}
}

// settled is true once it has been well for long enough.
func (c *course) settled(calm time.Duration) bool {
	if c.relapses == 0 {
		return !c.better.IsZero()
	}
	wait := calm << min(c.relapses-1, 20)
	return !c.better.IsZero() && c.well.Sub(c.better) >= min(wait, relapseWithin)
}
