package systemd

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

func TestNeeds(t *testing.T) {
	t.Parallel()
	up := Unit{Active: "active", Load: "loaded", FileState: "enabled"}
	change := func(f func(*Unit)) Unit { u := up; f(&u); return u }
	tests := map[string]struct {
		unit Unit
		want []need
	}{
		"all well": {up, nil},
		"static":   {change(func(u *Unit) { u.FileState = "static" }), nil},
		"masked and inactive": {change(func(u *Unit) {
			u.Load, u.FileState, u.Active = "masked",
				"masked", "inactive"
		}), []need{needUnmask, needStart}},
		"masked at run time": {change(func(u *Unit) { u.FileState = "masked-runtime" }),
			[]need{needUnmask}},
		"failed and disabled": {change(func(u *Unit) {
			u.Active, u.FileState = "failed",
				"disabled"
		}), []need{needReset, needEnable, needStart}},
		"file changed": {change(func(u *Unit) { u.NeedsReload = true }),
			[]need{needReload}},
		"waiting for a restart": {change(func(u *Unit) {
			u.Active, u.Sub = "activating",
				"auto-restart"
		}), []need{needStart}},
		"being stopped": {change(func(u *Unit) { u.job = 7 }), []need{needStart}},
		"reloading":     {change(func(u *Unit) { u.Active = "reloading" }), nil},
	}
	for name, test := range tests {
		if got := needs(test.unit); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestFulfilled(t *testing.T) {
	t.Parallel()
	running, stopped := Unit{Active: "active"}, Unit{Active: "inactive"}
	tests := []struct {
		verb   verb
		unit   Unit
		result string
		want   bool
	}{
		{starting(), running, "done", true}, {starting(), stopped, "failed", false},
		{starting(), stopped, "dependency", false},
		{starting(), running, "", true}, {starting(), stopped, "", false},
		{starting(), running, "canceled", true}, {starting(), stopped, "canceled", false},
		{restarting(), running, "", false}, {restarting(), running, "canceled", false},
		{restarting(), running, "done", true},
		{stopping(), stopped, "", true}, {stopping(), running, "canceled", false},
		{stopping(), stopped, "failed", true}, {starting(), stopped, "timeout", false},
	}
	for _, test := range tests {
		if got := fulfilled(test.verb, test.unit, test.result); got != test.want {
			t.Errorf("%s, %s, %q: %v", test.verb.name, test.unit.Active, test.result, got)
		}
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"mariadb.service": true, "srv-mariadb.mount": true,
		`dev-disk-by\x2did-virtio\x2dvol.device`: true, "getty@tty1.service": true,
		"": false, "mariadb": false, "-.mount": false, "../x.service": false, "a/b.service": false,
		"a b.service": false, "a.service\n": false,
		"--now.service": false, ".service": false, "a..b.service": false, "a.conf": false,
		"*.service": false,
	} {
		err := CheckName(name)
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
		if err != nil && errs.KindOf(err) != errs.InvalidArgument {
			t.Errorf("%q: kind %v", name, errs.KindOf(err))
		}
	}
}

func TestMountUnit(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"/srv/mariadb": "srv-mariadb.mount",
		"/var/lib/mysql": "var-lib-mysql.mount", "/srv/my-data": `srv-my\x2ddata.mount`} {
		if got := MountUnit(path); got != want || CheckName(got) != nil {
			t.Errorf("MountUnit(%s) = %s, want %s", path, got, want)
		}
	}
}

func TestAllowList(t *testing.T) {
	t.Parallel()
	list, err := NewAllowList([]string{"mariadb*.service"}, []string{"understudy-*"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]bool{"mariadb.service": {true, true},
		"mariadb@a.service": {true, true}, "understudy-agent.service": {true, false},
		"ssh.service": {false, false}} {
		if see, change := list.CheckSee(name) == nil,
			list.CheckChange(name) == nil; see != want[0] || change != want[1] {
			t.Errorf("%s: see %v, change %v", name, see, change)
		}
	}
	if err := list.CheckChange("ssh.service"); errs.KindOf(err) != errs.PermissionDenied ||
		errs.HintOf(err).String() == "" {
		t.Errorf("refusal: %v", err)
	}
	for _, bad := range []string{"", "[", "a["} {
		if _, err := NewAllowList([]string{bad}, nil); err == nil {
			t.Errorf("pattern %q is accepted", bad)
		}
	}
}

func testManager(t *testing.T) *Manager {
	t.Helper()
	exec, err := hostexec.New(hostexec.Config{})
	if err != nil {
		t.Fatal(err)
	}
	allow, err := NewAllowList([]string{"mariadb.service"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Exec: exec, Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestContentOfDropIns(t *testing.T) {
	t.Parallel()
	m := testManager(t)
	for content, ok := range map[string]bool{
		"":           true,
		"# note\n\n": true,
		"[Unit]\nBindsTo=srv-mariadb.mount\nAfter=srv-mariadb.mount " +
			"network-online.target\n[Service]\nLimitNOFILE=65536\n": true,
		"[Unit]\nAfter=":                   true,
		"[Service]\nExecStart=/bin/sh":     false,
		"[Service]\n ExecStart = /bin/sh":  false,
		"[Unit]\nRequires=reboot.target":   false,
		"[Unit]\nWants=mariadb.service":    true,
		"[Socket]\nListenStream=1":         false,
		"LimitNOFILE=1":                    false,
		"[Service]\nLimitNOFILE":           false,
		"[Service]\nNice=1\\":              false,
		"; x\\\nExecStart=y":               false,
		"[Service]\nMemoryMax=%h":          false,
		"[Service\nNice=1":                 false,
		"[[Service]]\nNice=1":              false,
		strings.Repeat("#", maxDropIn+1):   false,
		"[Service]\nRestart=no\x00\nNice=": false,
	} {
		if err := m.allow.checkContent(content); (err == nil) != ok {
			t.Errorf("%.60q: %v", content, err)
		}
	}
	for name, ok := range map[string]bool{"understudy.conf": true, "understudy-limits.conf": true,
		"override.conf": false, "understudy": false, "../understudy.conf": false,
		"understudy-../x.conf": false} {
		if err := checkDropIn("mariadb.service", name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestParseEntry(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		line string
		want Entry
		ok   bool
	}{
		"plain": {`{"__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":"ready","PRIORITY":"5",` +
			`"SYSLOG_IDENTIFIER":"mariadbd","_SYSTEMD_INVOCATION_ID":"ab","__CURSOR":"s=1"}`,
			Entry{Time: time.UnixMicro(1700000000000000), Message: "ready", Priority: 5,
				Identifier: "mariadbd", InvocationID: "ab", Cursor: "s=1"}, true},
		"systemd's own words": {`{"__REALTIME_TIMESTAMP":"1","MESSAGE":"Started",` +
			`"INVOCATION_ID":"cd","_SYSTEMD_INVOCATION_ID":"ab","_COMM":"systemd"}`,
			Entry{Time: time.UnixMicro(1), Message: "Started", Priority: 6, Identifier: "systemd",
				InvocationID: "cd"}, true},
		"bytes": {`{"__REALTIME_TIMESTAMP":"1","MESSAGE":[255,104,105]}`,
			Entry{Time: time.UnixMicro(1), Message: "?hi", Priority: 6}, true},
		"too long": {`{"__REALTIME_TIMESTAMP":"1","MESSAGE":null}`,
			Entry{Time: time.UnixMicro(1), Priority: 6}, true},
		"twice": {`{"__REALTIME_TIMESTAMP":"1","MESSAGE":["a","b"]}`,
			Entry{Time: time.UnixMicro(1), Message: "b", Priority: 6}, true},
		"no time":    {`{"MESSAGE":"x"}`, Entry{}, false},
		"not a line": {`-- No entries --`, Entry{}, false},
	}
	for name, test := range tests {
		if got, ok := parseEntry([]byte(test.line)); ok != test.ok || got != test.want {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
}

func TestPropertiesOfAnyType(t *testing.T) {
	t.Parallel()
	u := fromProperties("x.service", properties{
		"ActiveState": "active", "InvocationID": []byte{0xab, 1}, "MainPID": uint32(7),
		"ExecMainStatus": int32(-1), "NRestarts": uint32(3),
		"MemoryCurrent": uint64(1<<64 - 1), "ActiveEnterTimestamp": uint64(1_000_000),
		"Job": []any{uint32(9), "/x"}, "Requires": []string{"b", "a"}, "BindsTo": []string{"a"},
		"LoadError": []any{"org.x", "bad"}, "StatusText": 5,
	})
	if u.InvocationID != "ab01" || u.MainPID != 7 || u.ExitStatus != -1 || u.Restarts != 3 ||
		u.MemoryBytes != 0 || u.ActiveSince.Unix() != 1 ||
		u.job != 9 || !slices.Equal(u.Dependencies, []string{"a", "b"}) || u.LoadError != "bad" ||
		u.StatusText != "" {
		t.Errorf("unit = %+v", u)
	}
	if empty := fromProperties("x.service", nil); empty.Running() || empty.Masked() ||
		empty.MemoryBytes != 0 {
		t.Errorf("empty = %+v", empty)
	}
}

func TestTransientNamesAreOurOwn(t *testing.T) {
	t.Parallel()
	good := TransientSpec{Exec: []string{"/bin/true"}}
	for name, ok := range map[string]bool{"understudy-quiesce.service": true,
		"mariadb.service":    false,
		"understudy-x.timer": false, "understudy-../x.service": false} {
		if err := checkTransient(name, good); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, spec := range []TransientSpec{{}, {Exec: []string{"true"}},
		{Exec: []string{"/bin/true"}, ExecStopPost: [][]string{{}}}} {
		if checkTransient("understudy-x.service", spec) == nil {
			t.Errorf("%+v is accepted", spec)
		}
	}
}
