package kit

import (
	"crypto/rand"
	"log/slog"
)

// Secret is a text that must not be seen: every way of printing, logging or encoding it shows
// nothing. Reveal gives the text.
type Secret struct{ text string }

// NewSecret makes a random password of 26 characters that any MariaDB password rule of length and
// charset takes.
func NewSecret() Secret { return Secret{text: rand.Text()} }

// Reveal is the text, for the wire alone.
func (s Secret) Reveal() string { return s.text }

// String hides it.
func (Secret) String() string { return "(secret)" }

// GoString hides it from %#v.
func (Secret) GoString() string { return "(secret)" }

// LogValue hides it from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue("(secret)") }

// MarshalText hides it from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }
