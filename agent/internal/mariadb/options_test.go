package mariadb

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/proto/consistentpoint"
)

func TestParseOption(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]Option{
		"--server-id=7":              {"server_id", "7", true},
		"--skip-slave-start":         {"skip_slave_start", "", false},
		"--loose-Rpl-X=":             {"rpl_x", "", true},
		"--init_connect=SET a='b=c'": {"init_connect", "SET a='b=c'", true},
		"--bind-address=127.0.0.1  ": {"bind_address", "127.0.0.1", true},
		"datadir=/var/lib/mysql":     {"datadir", "/var/lib/mysql", true},
	} {
		if got, ok := parseOption(line); !ok || got != want {
			t.Errorf("%q is %+v, not %+v", line, got, want)
		}
	}
	if _, ok := parseOption("\n"); ok {
		t.Error("an empty line is an option")
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	lines := []string{"--ssl-passphrase=x", "--wsrep_sst_auth=root:x", "--master-password=x",
		"--some_secret", "--port=1"}
	var all []Option
	for _, line := range lines {
		o, _ := parseOption(line)
		all = append(all, o)
	}
	if got := shown(all); !slices.Equal(got, []string{"port=1"}) {
		t.Errorf("%v", got)
	}
}

func TestEffectiveOptions(t *testing.T) {
	t.Parallel()
	var all []Option
	for _, line := range []string{"--server-id=1", "--expire_logs_days=10", "--log-bin=x",
		"--server_id=2", "--binlog_expire_logs_seconds=0", "--skip-log-bin",
		"--skip_slave_start"} {
		o, _ := parseOption(line)
		all = append(all, o)
	}
	got := effective(all)
	for name, want := range map[string]string{"server_id": "2", "binlog_expire_logs_seconds": "0",
		"log_bin": "OFF", "skip_slave_start": "ON"} {
		if got[name] != want {
			t.Errorf("%s is %q, not %q", name, got[name], want)
		}
	}
}

// Days are compared as seconds, and shown as they are written.
func TestExpiryInDays(t *testing.T) {
	t.Parallel()
	for days, want := range map[string]string{"10": "864000", "0.5": "43200", "0": "0",
		"99": "8553600", "100": "100", "x": "x", "": ""} {
		if got := effective([]Option{{"expire_logs_days", days, true}})[expireOption]; got != want {
			t.Errorf("%s days are %q s, not %q", days, got, want)
		}
	}
	debian := map[string][]Option{"50-server.cnf": {{"expire_logs_days", "10", true}}}
	if got := overridden(debian, []Option{set(expireOption, 10)}); !slices.Equal(got,
		[]string{"expire_logs_days=10 (50-server.cnf)"}) {
		t.Errorf("%q", got)
	}
	if got := overridden(debian, []Option{set(expireOption, 864000)}); len(got) > 0 {
		t.Errorf("the same rule overrides itself: %q", got)
	}
}

func TestOneOptionIsRewritten(t *testing.T) {
	t.Parallel()
	rest := string(validSettings().render(TLSFiles{}, ""))
	for _, one := range []struct{ before, after string }{
		{"", header + "binlog_expire_logs_seconds=7\n"},
		{rest, strings.Replace(rest, "binlog_expire_logs_seconds=0", "binlog_expire_logs_seconds=7",
			1)},
		{"[mariadbd]\nbinlog-expire-logs-seconds = 5\nport=1",
			"[mariadbd]\nbinlog_expire_logs_seconds=7\nport=1\n"},
	} {
		got := withOption([]byte(one.before), set(expireOption, 7))
		if string(got) != one.after {
			t.Errorf("%q became %q", one.before, got)
		}
		if again := withOption(got, set(expireOption, 7)); string(again) != one.after {
			t.Errorf("again: %q", again)
		}
	}
}

func validSettings() Settings {
	return Settings{ServerID: 7, Bind: "0.0.0.0", LogBin: "mariadb-bin", LogSlaveUpdates: true,
		ReportHost: "replica-7.example"}
}

func TestSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	for field, spoil := range map[string]func(*Settings){
		"bind_address":      func(s *Settings) { s.Bind = "0.0.0.0\nskip_grant_tables" },
		"report_host":       func(s *Settings) { s.ReportHost = "a b" },
		"log_bin":           func(s *Settings) { s.LogBin = "../x" },
		"log_slave_updates": func(s *Settings) { s.LogBin = "" },
		`options["init_file"]`: func(
			s *Settings) {
			s.Extra = map[string]string{"init_file": "/tmp/x"}
		},
		`options["skip_grant_tables"]`: func(
			s *Settings) {
			s.Extra = map[string]string{"skip_grant_tables": "1"}
		},
		`options["max_connections"]`: func(
			s *Settings) {
			s.Extra = map[string]string{"max_connections": "1\nskip_grant_tables"}
		},
		`options["max_connections\n"]`: func(
			s *Settings) {
			s.Extra = map[string]string{"max_connections\n": "#"}
		},
		"options": func(
			s *Settings) {
			s.Extra = map[string]string{strings.Repeat("x", 1000): "1"}
		},
	} {
		s := validSettings()
		spoil(&s)
		var fields []string
		s.Check(func(field, _ string) { fields = append(fields, field) })
		if !slices.Contains(fields, field) {
			t.Errorf("%s is not refused: %v", field, fields)
		}
	}
	validSettings().Check(func(field, why string) { t.Errorf("%s %s", field, why) })
}

// What passes the check is one line an option, with the value as it was given.
func TestRenderedSettingsAreReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := Settings{
			ServerID:   rapid.Int64Range(1, 1<<32-1).Draw(t, "id"),
			Bind:       rapid.String().Draw(t, "bind"),
			LogBin:     rapid.StringN(0, 70, -1).Draw(t, "log_bin"),
			ReportHost: rapid.String().Draw(t, "host"),
			Extra: map[string]string{rapid.SampledFrom(append(AllowedOptions(), "x")).Draw(t,
				"name"): rapid.String().Draw(t, "value")},
		}
		bad := false
		s.Check(func(string, string) { bad = true })
		if bad {
			s = Settings{ServerID: s.ServerID, Bind: "::", LogBin: "b",
				Extra: map[string]string{"max_connections": "7"}}
		}
		options := s.options(TLSFiles{}, "")
		lines := strings.Split(strings.TrimSpace(string(s.render(TLSFiles{}, ""))), "\n")[2:]
		if len(lines) != len(options) {
			t.Fatalf("%d lines of %d options", len(lines), len(options))
		}
		for i, o := range options {
			if got, ok := parseOption(lines[i]); !ok || got != o {
				t.Fatalf("%q was read as %+v", lines[i], got)
			}
		}
	})
}

func TestSameValue(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{{"ON", "1"}, {"off", "0"}, {"TRUE", "on"}, {"a", "A"}} {
		if !sameValue(pair[0], pair[1]) {
			t.Errorf("%v differ", pair)
		}
	}
	if sameValue("ON", "OFF") || sameValue("2", "1") {
		t.Error("different values are the same")
	}
}

func TestTmpdirThatIsMissingIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for value, want := range map[string]string{dir: "", dir + "/none": "/tmp",
		dir + ":" + dir + "/none": "/tmp"} {
		if got := sanitizedTmpdir([]Option{set("tmpdir", value)}); got != want {
			t.Errorf("%s: %q, not %q", value, got, want)
		}
	}
	if got := sanitizedTmpdir(nil); got != "" {
		t.Errorf("%q", got)
	}
}

func TestACopyHasTheOptionsOfItsDatadir(t *testing.T) {
	t.Parallel()
	contract := &consistentpoint.Contract{Options: map[string]string{
		"innodb_page_size": "8192", "character_set_server": "latin1",
		"collation_server": "latin1_bin", "default_week_format": "3",
		"ignore_db_dirs": "lost+found,a", "ft_boolean_syntax": `+ -><()\*:""&#`},
		Preload: []string{"ha_archive.so", "ha_blackhole.so"}}
	render := func(extra map[string]string) string {
		return string(Settings{ServerID: 2, Bind: "::", Extra: extra,
			Contract: contract}.render(TLSFiles{}, ""))
	}
	for _, c := range []struct {
		extra       map[string]string
		has, hasNot string
	}{
		{nil, "\ninnodb_page_size=8192\n", "\ninnodb_data_home_dir"},
		{nil, "\nplugin_load_add=ha_archive.so;ha_blackhole.so\n", "\nplugin_load="},
		{nil, "\ncollation_server=latin1_bin\n", "\nsql_mode"},
		{nil, "\nignore_db_dirs=\nignore_db_dirs=lost+found\nignore_db_dirs=a\n",
			"\nignore_db_dirs=lost+found,a"},
		{nil, "\nft_boolean_syntax=\"+ -><()\\\\*:\\\"\\\"&#\"\n", "\nft_boolean_syntax=+"},
		{map[string]string{"character_set_server": "utf8mb4"}, "\ncharacter_set_server=utf8mb4\n",
			"\ncollation_server"},
	} {
		got := render(c.extra)
		if !strings.Contains(got, c.has) || strings.Contains(got, c.hasNot) {
			t.Errorf("with %v:\n%s", c.extra, got)
		}
	}
}

// TestOptionsAreReadAsTheyWereWritten from the agent's own file.
func TestOptionsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	file := dropIn(filepath.Join(t.TempDir(), "own.cnf"))
	ours := append(written(ignoredDirs, "lost+found,a"), set("ft_boolean_syntax", `+ -><()\*:""&#`),
		set("plugin_load_add", "a.so;b.so"), set("tmpdir", `/a b\c`))
	content := group + "\n"
	for _, o := range ours {
		content += o.line() + "\n"
	}
	if err := os.WriteFile(string(file), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := file.options()
	if err != nil || !slices.Equal(got, ours) {
		t.Errorf("%q, %v, want %q", got, err, ours)
	}
	all := append([]Option{set(ignoredDirs, "of another file")}, got...)
	if is := effective(all)[ignoredDirs]; is != "lost+found,a" {
		t.Errorf("%s counts", is)
	}
}

func TestAContractIsOfADatadirAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*consistentpoint.Contract{
		"option":      {Options: map[string]string{"init_file": "/tmp/x"}},
		"value":       {Options: map[string]string{"innodb_page_size": "1\nuser=root"}},
		"syntax":      {Options: map[string]string{"ft_boolean_syntax": "+\nuser=root"}},
		"library":     {Libraries: []string{"../../tmp/x.so"}},
		"preload":     {Preload: []string{"a.so;b.so"}},
		"key library": {KeyLibrary: "a/b.so"},
	} {
		said := 0
		CheckContract(c, func(string, string) { said++ })
		if said == 0 {
			t.Errorf("%s passes", name)
		}
	}
	CheckContract(nil, func(field, why string) { t.Error(field, why) })
}
