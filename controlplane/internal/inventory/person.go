package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Person is an account at an identity provider. Issuer and Subject say whose; nothing else does.
type Person struct {
	// Issuer is the provider, as its ID tokens have it.
	Issuer string
	// Subject is whom the provider calls so, and nobody else.
	Subject string
	// Shown is the name that the provider shows, in one clean line. Others can have the same.
	Shown string
}

// Key is the hash of issuer and subject. No issuer has a NUL in it.
func (p Person) Key() string {
	sum := sha256.Sum256([]byte(p.Issuer + "\x00" + p.Subject))
	return hex.EncodeToString(sum[:])
}

const (
	// personPrefix begins the names of operators who log in, and of nobody else.
	personPrefix = "oidc."
	personDigits = 12
	maxShown     = 40 // of 63 that a name may have
)

// IsPerson says whether an operator's name is that of somebody who logs in: it is given by
// Person.Name alone.
func IsPerson(operator string) bool { return strings.HasPrefix(operator, personPrefix) }

// Name is the operator's name of a person who logs in for the first time: readable, and that of no
// other person, whatever they are shown as.
func (p Person) Name() string {
	return fmt.Sprintf("%s%s.%s", personPrefix, plain(p.Shown), p.Key()[:personDigits])
}

// plain is a text in letters, digits, dots and dashes, with a letter or digit at both ends.
func plain(text string) string {
	var out strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			out.WriteRune(r)
		case out.Len() > 0 && !strings.HasSuffix(out.String(), "-") &&
			!strings.HasSuffix(out.String(), "."):
			out.WriteRune(map[bool]rune{true: '.', false: '-'}[r == '.'])
		}
		if out.Len() == maxShown {
			break
		}
	}
	if trimmed := strings.Trim(out.String(), "-."); trimmed != "" {
		return trimmed
	}
	return "somebody"
}

// Login is the record of a person who logged in.
type Login struct {
	Person
	// Operator is the name that the person got at the first login.
	Operator string
	// Last is when the last login was; zero for who was revoked before the first one.
	Last time.Time
	// RevokedAt is when the person was revoked, zero for who may log in; Reason is why.
	RevokedAt time.Time
	Reason    string
}

// Unborn is the record of a person who never logged in. The first login gives the name.
func Unborn(p Person) Login {
	p.Shown = p.Subject
	return Login{Person: p, Operator: p.Name()}
}

// IsFirst says whether the next login is the first one.
func (l Login) IsFirst() bool { return l.Last.IsZero() }
