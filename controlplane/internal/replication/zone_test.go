package replication

import (
	"strings"
	"testing"
)

// TestZoneOfTheHostCountsWhereSessionsUseIt has hosts whose zones differ.
func TestZoneOfTheHostCountsWhereSessionsUseIt(t *testing.T) {
	t.Parallel()
	status := func(name, offsets, global string) Status {
		return Status{Settings: map[string]string{"system_time_zone": name,
			"system_time_zone_offsets": offsets, "time_zone": global}}
	}
	for _, c := range []struct {
		its, primarys string
		counts        bool
	}{{"+00:00", "UTC", false}, {"SYSTEM", "UTC", true}, {"UTC", "SYSTEM", true}, {"", "", true}} {
		its, primarys := status("JST", "b", c.its), status("UTC", "a", c.primarys)
		if other := OtherZone(its, primarys); (other != "") != c.counts {
			t.Errorf("%+v: %q", c, other)
		}
	}
	for name, part := range map[string]string{"JST": "set-timezone", "UTC": "tzdata"} {
		hint := OneZone("db2", "db1", status(name, "b", ""), status("UTC", "a", ""))
		if !strings.Contains(hint.Text, part) {
			t.Errorf("%s: %s", name, hint.Text)
		}
	}
}
