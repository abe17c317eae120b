//go:build lab

package mariadb_test

import (
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// TestTimeZonesAreDigestedByWhatTheyMean changes them on one server, a step after the other.
func TestTimeZonesAreDigestedByWhatTheyMean(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		seen := map[string]bool{}
		last := zonesOf(t, i)
		for _, step := range []struct {
			statement string
			same      bool // means the same by each name
		}{
			{"INSERT INTO mysql.time_zone VALUES (1, 'N'); " +
				"INSERT INTO mysql.time_zone_name VALUES ('Here', 1)", false},
			{"INSERT INTO mysql.time_zone_transition_type VALUES (1, 0, 3600, 0, 'A')", false},
			{"INSERT INTO mysql.time_zone_transition VALUES (1, -99, 0), (1, 99, 0)", false},
			{"UPDATE mysql.time_zone_transition SET Transition_time = 98 WHERE " +
				"Transition_time = 99", false},
			{"UPDATE mysql.time_zone_transition_type SET `Offset` = 7200", false},
			{"INSERT INTO mysql.time_zone_leap_second VALUES (78796800, 1)", true},
			{"UPDATE mysql.time_zone SET Time_zone_id = 7; " +
				"UPDATE mysql.time_zone_name SET Time_zone_id = 7; " +
				"UPDATE mysql.time_zone_transition SET Time_zone_id = 7; " +
				"UPDATE mysql.time_zone_transition_type SET Time_zone_id = 7", true},
			{"UPDATE mysql.time_zone SET Use_leap_seconds = 'Y'", false},
			{"INSERT INTO mysql.time_zone_name VALUES ('There', 7)", false},
		} {
			i.Exec(step.statement)
			now := zonesOf(t, i)
			if now.Problem != "" || (now == last) != step.same ||
				!step.same && seen[now.Digest] {
				t.Errorf("%s: %+v, was %+v", step.statement, now, last)
			}
			last, seen[now.Digest] = now, true
		}
		if last.Value != "2" {
			t.Errorf("%+v", last)
		}
	})
}

// TestTimeZonesThatAreBeingLoadedAreBusy, and not of another kind.
func TestTimeZonesThatAreBeingLoadedAreBusy(t *testing.T) {
	i := mariadbtest.Start(t, mariadbtest.Options{Root: roots(t)[0], Install: true})
	conn, err := i.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(),
		"LOCK TABLES mysql.time_zone_transition WRITE"); err != nil {
		t.Fatal(err)
	}
	if o := zonesOf(t, i); !o.Busy || o.Digest != "" || o.Value != "" {
		t.Errorf("%+v", o)
	}
}

func zonesOf(t *testing.T, i *mariadbtest.Instance) mariadb.Object {
	t.Helper()
	return inventoryOf(t, i)["TIME_ZONES mysql.time_zone_name"]
}
