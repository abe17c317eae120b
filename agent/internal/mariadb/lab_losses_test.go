//go:build lab

package mariadb_test

import (
	"maps"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// The status has the settings that lose changes as the running server has them, whatever set them.
func TestSettingsThatLoseChanges(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root,
			Config: "binlog_ignore_db=tmp"})
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary), Config: "slave_skip_errors=all\n" +
				"slave_exec_mode=IDEMPOTENT\nslave_type_conversions=ALL_LOSSY\n" +
				"init_slave='SET unique_checks=0'\nreplicate_ignore_db=tmp\n" +
				"secure_timestamp=YES\nslave_net_timeout=3600"}, password)
		if got := status(t, primary).Settings["binlog_ignore_db"]; got != "tmp" {
			t.Errorf("binlog_ignore_db: %q", got)
		}
		// Our option file beats these; a list of filters is not taken back by it.
		got := status(t, replica)
		for name, want := range map[string]string{"slave_skip_errors": "OFF",
			"slave_exec_mode": "STRICT", "slave_type_conversions": "", "init_slave": "",
			"secure_timestamp": "NO", "replicate_ignore_db": "tmp"} {
			if got.Settings[name] != want {
				t.Errorf("%s: %q, not %q", name, got.Settings[name], want)
			}
		}
		if s := replica.Value("SELECT @@slave_net_timeout"); s != "30" {
			t.Errorf("it waits %s seconds for its primary", s)
		}
		replica.Exec("STOP SLAVE", "SET GLOBAL slave_exec_mode = IDEMPOTENT",
			"SET GLOBAL replicate_ignore_db = ''", "SET GLOBAL replicate_wild_ignore_table = 'a.%'",
			"CHANGE MASTER TO MASTER_DELAY = 60, IGNORE_DOMAIN_IDS = (4,5)",
			"SET GLOBAL sql_slave_skip_counter = 1")
		got = status(t, replica)
		if got.Settings["slave_exec_mode"] != "IDEMPOTENT" ||
			got.Settings["replicate_ignore_db"] != "" {
			t.Errorf("set in the running server: %v", got.Settings)
		}
		for name, want := range map[string]string{"replicate_wild_ignore_table": "a.%",
			"skip_counter": "1", "sql_delay": "60", "replicate_ignore_domain_ids": "4, 5"} {
			if is := got.Replication[0].Settings[name]; is != want {
				t.Errorf("%s: %q, not %q", name, is, want)
			}
		}
		changes, _, err := replica.Replica.Configure(t.Context(),
			replica.PrimaryIs(primary, password))
		if err != nil || len(changes) != 2 {
			t.Errorf("%v %v", changes, err)
		}
		left := maps.Clone(status(t, replica).Replication[0].Settings)
		if left["sql_delay"] != "0" || left["replicate_ignore_domain_ids"] != "" {
			t.Errorf("after it was pointed to its primary again: %v", left)
		}
	})
}

// TestANodeOfAClusterIsTold by its own word: what it gets by a state transfer is in no binary log.
func TestANodeOfAClusterIsTold(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		for config, want := range map[string]string{"": "OFF",
			"wsrep_on=ON\nwsrep_provider=none\nbinlog_format=ROW\nwsrep_cluster_address=": "ON"} {
			i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
				Config: config})
			if got := status(t, i).Settings["wsrep_on"]; got != want {
				t.Errorf("with %q it is told as %q", config, got)
			}
			i.Stop()
		}
	})
}

// TestTimeZoneOfTheHost has servers whose SYSTEM time zones differ, or have other names alone.
func TestTimeZoneOfTheHost(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
		offsets := map[string]string{}
		for zone, name := range map[string]string{"UTC0": "UTC", "XYZ0": "XYZ", "JST-9": "JST",
			"JST-9JDT": "JST"} {
			i.Env = []string{"TZ=" + zone}
			i.Run()
			got := status(t, i).Settings
			if got["system_time_zone"] != name && got["system_time_zone"] != "JDT" {
				t.Errorf("%s is called %q", zone, got["system_time_zone"])
			}
			offsets[zone] = got["system_time_zone_offsets"]
			i.Stop()
		}
		if offsets["UTC0"] == "" || offsets["UTC0"] != offsets["XYZ0"] ||
			offsets["JST-9"] == offsets["UTC0"] || offsets["JST-9"] == offsets["JST-9JDT"] {
			t.Errorf("what the zones do: %v", offsets)
		}
	})
}

func TestEngineOfThePosition(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
		i.Run()
		engine := func(want string) {
			t.Helper()
			if got := status(t, i).Settings["gtid_slave_pos_engine"]; got != want {
				t.Errorf("the position is in an engine %q, not %q", got, want)
			}
		}
		engine("InnoDB")
		i.Exec("ALTER TABLE mysql.gtid_slave_pos ENGINE=Aria")
		engine("Aria")
		i.Exec("CREATE TABLE mysql.gtid_slave_pos_InnoDB LIKE mysql.gtid_slave_pos",
			"ALTER TABLE mysql.gtid_slave_pos_InnoDB ENGINE=InnoDB")
		engine("InnoDB")
	})
}

func status(t *testing.T, i *mariadbtest.Instance) mariadb.Live {
	t.Helper()
	s, err := i.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Live
}
