package show

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Duration is a time span as users read it, with as much detail as matters: "3ms", "2.4s", "42s",
// "3m12s", "5h4m", "2d4h".
func Duration(d time.Duration) string {
	switch d = max(d, 0); {
	case d == 0:
		return "0s"
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < 10*time.Second-50*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return long(d.Round(time.Second))
}

// long is two units at most, the second one left out when there is none of it: "5m", "5m20s", "2h",
// "3d4h".
func long(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return two(d, time.Hour, "h", time.Minute, "m")
	default:
		return two(d, day, "d", time.Hour, "h")
	}
}

func two(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d%s", d/big, bigName)
	if rest := d % big / small; rest > 0 {
		text += fmt.Sprintf("%d%s", rest, smallName)
	}
	return text
}

// Age is how long ago a time was, roughly: "3m ago"; "-" for no time, "now" for the last second.
func Age(now, then time.Time) string {
	if then.IsZero() || then.Unix() == 0 {
		return none
	}
	switch age := now.Sub(then); {
	case age < time.Second:
		return "now"
	case age < time.Minute:
		return fmt.Sprintf("%ds ago", age/time.Second)
	case age < time.Hour:
		return fmt.Sprintf("%dm ago", age/time.Minute)
	default:
		return long(age) + " ago"
	}
}

// ParseDuration reads a time span: what Go writes ("90s", "1h30m", "500ms"), and days ("7d"). It is
// never negative.
func ParseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, notADuration()
		}
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, notADuration()
	}
	if d < 0 {
		return 0, errors.New("must not be negative")
	}
	return d, nil
}

// ParseTime reads a point in time: a time, a day, or how long ago it was ("2h").
func ParseTime(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime,
		time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	ago, err := ParseDuration(text)
	if err != nil {
		return time.Time{},
			errors.New("must be a time such as 2h, 7d, 2026-01-31 or 2026-01-31T15:04:05Z")
	}
	return now.Add(-ago), nil
}

func notADuration() error {
	return errors.New("must be a number and a unit, such as 10s, 5m, 24h or 7d")
}
