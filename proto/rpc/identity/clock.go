package identity

import "time"

const (
	// Backdate is how long before it is issued a certificate is good: it lets in peers whose clock
	// is behind.
	Backdate = 2 * time.Hour
	// MaxClockDifference is how far apart two clocks may be. Certificates that were just issued by
	// the one are no good at the other beyond it, give or take the time that a peer tries again.
	MaxClockDifference = Backdate + 10*time.Minute
)
