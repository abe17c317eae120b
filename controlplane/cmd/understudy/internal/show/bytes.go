package show

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

var byteUnits = []struct {
	name string
	size float64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3},
	{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10},
	{"B", 1},
}

// ParseBytes reads a size with its unit: KiB, MiB, GiB, TiB (1024) or KB, MB, GB, TB (1000); K, M,
// G and T mean KiB to TiB. A number without a unit is refused, since nobody knows what it means.
// The size is at least 1 byte and whole.
func ParseBytes(text string) (int64, error) {
	compact := strings.ReplaceAll(text, " ", "")
	for _, unit := range byteUnits {
		number, ok := strings.CutSuffix(compact, unit.name)
		if !ok {
			continue
		}
		return scaled(number, unit.size)
	}
	if _, err := strconv.ParseFloat(compact, 64); err == nil {
		return 0, fmt.Errorf("must have a unit, such as %sGiB or %sMiB", compact, compact)
	}
	return 0, notASize()
}

func scaled(number string, unit float64) (int64, error) {
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.ContainsAny(number, "xXpPeEnN_") {
		return 0, notASize()
	}
	bytes := value * unit
	if bytes < 1 {
		return 0, errors.New("must be at least 1 byte")
	}
	if bytes > math.MaxInt64/2 {
		return 0, errors.New("must be at most 4096 TiB")
	}
	return int64(math.Round(bytes)), nil
}

func notASize() error {
	return errors.New("must be a number and a unit, such as 10GiB or 512MiB")
}
