package mariadb

import (
	"strings"
	"testing"
)

// TestNoSumHasWhatEachServerNumbersForItself: two servers with the same rows would differ for ever.
func TestNoSumHasWhatEachServerNumbersForItself(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"bigint", "timestamp"} {
		columns := []row{{"n": "id", "t": "int"}, {"n": "a", "t": kind, "g": rowStart},
			{"n": "b", "t": kind, "g": rowEnd}}
		key := keyOf(columns, []row{{"n": "id"}, {"n": "b"}})
		if len(key) != 1 || key[0].name != "id" {
			t.Errorf("%s: chunks are cut by %+v", kind, key)
		}
		hash := rowHash(columns)
		if strings.Contains(hash, "`a`") || !strings.Contains(hash, "(`b` > ") &&
			!strings.Contains(hash, "(`b` = "+neverEnded+")") {
			t.Errorf("%s: %s", kind, hash)
		}
	}
	if all := keyOf([]row{{"n": "b", "t": "bigint", "g": rowEnd}}, []row{{"n": "b"}}); all != nil {
		t.Errorf("chunks are cut by %+v", all)
	}
}

func TestGeometriesDifferByTheirSystem(t *testing.T) {
	t.Parallel()
	if hash := rowHash([]row{{"n": "g", "t": "point"}}); !strings.Contains(hash, "ST_SRID(`g`)") {
		t.Error(hash)
	}
}
