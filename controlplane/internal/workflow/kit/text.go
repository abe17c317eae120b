package kit

import (
	"fmt"
	"strings"
)

// Sprintf is fmt.Sprintf, but a text without arguments is no format.
func Sprintf(format string, args ...any) string {
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// Size is a number of bytes as people read it.
func Size(bytes int64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%dB", bytes)
	}
	value, i := float64(bytes), -1
	for value >= unit && i < 3 {
		value, i = value/unit, i+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + "KMGT"[i:i+1] + "iB"
}

// SomeOf lists the first few of many.
func SomeOf(all []string, most int) string {
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}

// Because is a provider's reason for a state, if it gives one.
func Because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// ShortVersion is a server's version without its build's suffix.
func ShortVersion(version string) string {
	short, _, _ := strings.Cut(version, "-")
	return short
}
