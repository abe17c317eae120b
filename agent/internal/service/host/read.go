package host

import (
	"os"
	"strconv"
	"strings"
	"time"
)

func readText(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(data)), "?")
}

// osRelease is PRETTY_NAME.
func osRelease(text string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}

// meminfo is one value of /proc/meminfo in bytes.
func meminfo(text, key string) int64 {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != key+":" {
			continue
		}
		if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			return kib << 10
		}
	}
	return 0
}

func firstNumber(text string) float64 {
	first, _, _ := strings.Cut(text, " ")
	number, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return number
}

func uptime() time.Duration {
	return time.Duration(firstNumber(readText("/proc/uptime")) * float64(time.Second))
}
