// Package size writes numbers of bytes for users.
package size

import (
	"fmt"
	"strings"
)

var units = []struct {
	name  string
	shift int
}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

// Text is a size to a tenth of its unit, in powers of 1024: "512B", "2GiB", "1.5GiB".
func Text(bytes int64) string {
	for _, unit := range units {
		if bytes >= 1<<unit.shift {
			number := fmt.Sprintf("%.1f", float64(bytes)/float64(int64(1)<<unit.shift))
			return strings.TrimSuffix(number, ".0") + unit.name
		}
	}
	return fmt.Sprintf("%dB", bytes)
}

// Exact is a size in the largest unit that divides it: "2GiB", "1536MiB", "1000 bytes".
func Exact(bytes int64) string {
	for _, unit := range units {
		if bytes != 0 && bytes%(1<<unit.shift) == 0 {
			return fmt.Sprintf("%d%s", bytes>>unit.shift, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}
