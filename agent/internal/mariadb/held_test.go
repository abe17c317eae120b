package mariadb

import (
	"testing"
	"time"
)

// What cannot be read while MariaDB is held is as it was in the same run.
func TestMismatchesStayKnownWhileHeld(t *testing.T) {
	t.Parallel()
	began := time.Now()
	before := &Live{Started: began, Mismatches: []Mismatch{{Name: "sync_binlog"}},
		Settings: map[string]string{"binlog_ignore_db": "app", "slave_exec_mode": "STRICT"}}
	for name, test := range map[string]struct {
		before *Live
		start  time.Time
		kept   bool
	}{"the same run": {before, began.Add(time.Second), true},
		"another run": {before, began.Add(time.Minute), false}, "no look yet": {nil, began, false},
	} {
		held := Live{Started: test.start,
			Settings: map[string]string{"slave_exec_mode": "IDEMPOTENT"}}
		held.remember(test.before)
		if kept := len(held.Mismatches) == 1 && held.Settings["binlog_ignore_db"] == "app"; kept !=
			test.kept || held.Settings["slave_exec_mode"] != "IDEMPOTENT" {
			t.Errorf("%s: %+v", name, held)
		}
	}
}
