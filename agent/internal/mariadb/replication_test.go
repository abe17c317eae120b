package mariadb

import (
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// status is a row of SHOW ALL SLAVES STATUS as MariaDB 11.8 gives it, shortened.
func status() row {
	return row{
		"connection_name": "",
		"slave_sql_state": "Slave has read all relay log; waiting for more updates",
		"slave_io_state":  "Waiting for master to send event",
		"master_host":     "10.0.0.1", "master_user": "us_7", "master_port": "3306",
		"connect_retry": "2", "slave_io_running": "Yes", "slave_sql_running": "Yes",
		"last_errno": "0", "seconds_behind_master": "0", "master_ssl_allowed": "Yes",
		"master_ssl_verify_server_cert": "Yes",
		"master_ssl_ca_file":            "/etc/mysql/understudy/ca.pem", "last_io_errno": "0",
		"last_io_error": "", "last_sql_errno": "0", "last_sql_error": "",
		"master_server_id": "1", "using_gtid": "Slave_Pos", "gtid_io_pos": "0-1-7,1-1-1",
		"slave_sql_running_state": "Slave has read all relay log",
	}
}

func TestReadingReplicationStatus(t *testing.T) {
	t.Parallel()
	r := replication(status())
	if !r.Runs() || r.Stopped() || r.Host != "10.0.0.1" || r.Port != 3306 || !r.TLS ||
		!r.TLSVerify || r.Behind == nil || *r.Behind != 0 ||
		r.PrimaryServerID != 1 || r.trouble() != nil ||
		!served(r) {
		t.Errorf("%+v", r)
	}
	odd := status()
	delete(odd, "seconds_behind_master") // NULL
	odd["master_port"], odd["last_io_errno"] = "x", ""
	if r := replication(odd); r.Behind != nil || r.Port != 0 || r.IOErrno != 0 {
		t.Errorf("%+v", r)
	}
	if r := replication(row{}); r.Runs() || r.Stopped() || r.trouble() != nil {
		t.Errorf("%+v", r)
	}
}

func TestTrouble(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		column, number string
		trouble        bool
	}{
		"primary away":      {"last_io_errno", "2003", false},
		"lost connection":   {"last_io_errno", "2013", false},
		"refused":           {"last_io_errno", "1045", true},
		"certificate":       {"last_io_errno", "2026", true},
		"purged":            {"last_io_errno", "1236", true},
		"same server_id":    {"last_io_errno", "4052", true},
		"duplicate key":     {"last_sql_errno", "1062", true},
		"missing row":       {"last_sql_errno", "1032", true},
		"something unheard": {"last_sql_errno", "9999", true},
	} {
		r := status()
		r[test.column] = test.number
		err := replication(r).trouble()
		if (err != nil) != test.trouble {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (errs.ReasonOf(err) != errorsv1.Reason_REASON_REPLICATION_ERROR ||
			errs.HintOf(err).String() == "" || errs.MetaOf(err)["errno"] != test.number) {
			t.Errorf("%s: %v %v", name, err, errs.MetaOf(err))
		}
	}
}

// TestAHandshakeThatWasCutOffIsTriedAgain: a busy primary ends one, and refuses nothing by that.
func TestAHandshakeThatWasCutOffIsTriedAgain(t *testing.T) {
	t.Parallel()
	for text, trouble := range map[string]bool{
		"error connecting to master: SSL connection error: error:00000000:lib(0)::reason(0)": false,
		"error connecting to master: TLS/SSL error: certificate verify failed":               true,
	} {
		r := status()
		r["last_io_errno"], r["last_io_error"] = "2026", text
		if err := replication(r).trouble(); (err != nil) != trouble {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzReplication(f *testing.F) {
	f.Add("last_io_errno", "2003")
	f.Add("seconds_behind_master", "-1")
	f.Add("gtid_io_pos", "0-1-7,\n1-1-1")
	f.Fuzz(func(t *testing.T, column, value string) {
		r := status()
		r[column] = value
		made := replication(r)
		_ = made.trouble()
		_ = made.Runs() && made.Stopped() &&
			func() bool { t.Error("runs and is stopped"); return true }()
	})
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Version{
		"11.8.6-MariaDB": {11, 8, 6}, "10.11.19-MariaDB-0+deb12u1-log": {10, 11, 19},
		"mariadbd  Ver 11.8.6-MariaDB-0+deb13u1 from Debian for debian-linux-gnu on x86_64": {11, 8,
			6},
	} {
		if got, ok := parseVersion(text); !ok || got != want {
			t.Errorf("%q is %v", text, got)
		}
	}
	for _, text := range []string{"", "MariaDB", "11.8", "9999.1.1"} {
		if got, ok := parseVersion(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
	old, recent := Version{10, 11, 19}, Version{11, 8, 6}
	if !recent.newerSeries(old) || old.newerSeries(recent) || old.newerSeries(old) ||
		!old.sameSeries(Version{10, 11, 1}) || old.sameSeries(recent) ||
		(Version{11, 4, 0}).newerSeries(recent) || !(Version{12, 0, 0}).newerSeries(recent) {
		t.Error("versions compare wrong")
	}
	if (Version{}).String() != "" {
		t.Error("no version has a name")
	}
}

func TestLaterLog(t *testing.T) {
	t.Parallel()
	if !laterLog("b.000010", "b.000009") || laterLog("b.000009", "b.000009") ||
		!laterLog("b.1000000", "b.999999") {
		t.Error("logs sort wrong")
	}
}
