package replication

import (
	"cmp"
	"strconv"
	"strings"
)

// Series is the release series of a MariaDB version, "11.8" of "11.8.6-MariaDB"; empty when it
// cannot be read.
func Series(version string) string {
	major, minor, ok := series(version)
	if !ok {
		return ""
	}
	return strconv.Itoa(major) + "." + strconv.Itoa(minor)
}

// CompareSeries orders two versions by series; ok is false when one cannot be read.
func CompareSeries(a, b string) (order int, ok bool) {
	amaj, amin, aok := series(a)
	bmaj, bmin, bok := series(b)
	return cmp.Or(cmp.Compare(amaj, bmaj), cmp.Compare(amin, bmin)), aok && bok
}

func series(version string) (major, minor int, ok bool) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return 0, 0, false
	}
	digits := strings.IndexFunc(parts[1], func(r rune) bool { return r < '0' || r > '9' })
	if digits >= 0 {
		parts[1] = parts[1][:digits]
	}
	minor, err = strconv.Atoi(parts[1])
	return major, minor, err == nil
}

// LogFormat numbers the formats of InnoDB's redo log. A server recovers from a log of its own
// format alone; one of an older format it takes over when a clean shutdown left it empty.
func LogFormat(version string) (format int, ok bool) {
	for n, first := range []string{"10.5", "10.8"} {
		order, known := CompareSeries(version, first)
		if !known {
			return 0, false
		}
		if order >= 0 {
			format = n + 1
		}
	}
	return format, true
}
