package inventory

import (
	"strconv"
	"strings"
	"time"
)

// Attested is a machine that its provider has signed for.
type Attested struct {
	// Provider is what it is a machine of, such as "ec2", and Machine the provider's id.
	Provider, Machine string
	// Started is when it was last switched on, Created when it was made, by the provider's clock.
	Started, Created time.Time
	// Expires is when the signature proves it no longer.
	Expires time.Time
}

// Key is what the use of this start of the machine is recorded under: no hash of a token.
func (a Attested) Key() string {
	return machineKey(a.Provider, a.Machine, "started", strconv.FormatInt(a.Started.Unix(), 10))
}

// FirstStart says whether the machine has been made only just.
func (a Attested) FirstStart() bool {
	return a.Started.Sub(a.Created).Abs() <= a.Expires.Sub(a.Started)
}

// NamedKey is what the record is under that an operator named the machine; the nonce tells those of
// one machine apart.
func NamedKey(provider, machine, nonce string) string {
	return machineKey(provider, machine, "named", nonce)
}

// MachineKeys is how all keys of a machine begin.
func MachineKeys(provider, machine string) string { return provider + "/" + machine + "/" }

func machineKey(provider, machine, what, which string) string {
	return MachineKeys(provider, machine) + what + "/" + which
}

// Machine is the provider's id of the machine that the token is for; empty for one with a secret.
func (t JoinToken) Machine() string {
	parts := strings.Split(t.Hash, "/")
	if len(parts) != 4 {
		return ""
	}
	return parts[1]
}
