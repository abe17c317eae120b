package mariadb

import (
	"maps"
	"slices"
	"testing"
)

func TestLosses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Live)
		want   []string
	}{
		"a replica as it is to be": {func(*Live) {}, nil},
		"a primary": {func(l *Live) {
			l.Replication, l.Settings["slave_exec_mode"] = nil, "IDEMPOTENT"
		}, nil},
		"goes on": {func(l *Live) { l.Settings["slave_exec_mode"] = "IDEMPOTENT" },
			[]string{"slave_exec_mode"}},
		"cuts": {func(l *Live) { l.Settings["slave_type_conversions"] = "ALL_LOSSY" },
			[]string{"slave_type_conversions"}},
		"a filter, of the server and its connection": {func(l *Live) {
			l.Settings["replicate_ignore_db"] = "app"
			l.Replication[0].Settings["replicate_ignore_db"] = "app"
		}, []string{"replicate_ignore_db"}},
		"skips": {func(l *Live) { l.Replication[0].Settings["skip_counter"] = "1" },
			[]string{"skip_counter"}},
		"a delay":  {func(l *Live) { l.Replication[0].Settings["sql_delay"] = "60" }, nil},
		"an error": {func(l *Live) { l.Replication[0].SQLErrno = 1062 }, []string{"error"}},
		"a deadlock that it gave up on": {func(l *Live) { l.Replication[0].SQLErrno = 1213 },
			nil},
	} {
		l := Live{Settings: map[string]string{"slave_exec_mode": "STRICT", "time_zone": "SYSTEM",
			"slave_skip_errors": "OFF", "slave_type_conversions": "ALL_NON_LOSSY"},
			Replication: []Replication{{SQLRunning: "No", Settings: map[string]string{
				"skip_counter": "0", "sql_delay": "0"}}, {Connection: "feed", SQLErrno: 1}}}
		test.change(&l)
		if got := slices.Sorted(maps.Keys(l.Losses())); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
