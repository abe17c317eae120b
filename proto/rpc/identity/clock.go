package identity

import (
	"crypto/x509"
	"time"
)

const (
	// Backdate is how long before it is issued a certificate is good: it lets in peers whose clock
	// is behind.
	Backdate = 2 * time.Hour
	// MaxClockDifference is how far apart two clocks may be. Certificates that were just issued by
	// the one are no good at the other beyond it, give or take the time that a peer tries again.
	MaxClockDifference = Backdate + 10*time.Minute
)

// IssuedAt is when a certificate was issued that is good from and until those times.
func IssuedAt(notBefore, notAfter time.Time) time.Time {
	life := notAfter.Sub(notBefore) // which is longer by what it was backdated
	return notBefore.Add(min(Backdate, life/2))
}

// RenewTime is when half of a certificate's life is over: whoever has it renews it from then on.
func RenewTime(cert *x509.Certificate) time.Time {
	return cert.NotAfter.Add(-cert.NotAfter.Sub(IssuedAt(cert.NotBefore, cert.NotAfter)) / 2)
}
