package systemd

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/unit"
)

// FuzzEntry reads lines of the journal, into which every program writes what it likes.
func FuzzEntry(f *testing.F) {
	f.Add(
		[]byte(
			`{"__REALTIME_TIMESTAMP":"1700000000000000","PRIORITY":"3","MESSAGE":"x",` +
				`"_COMM":"mariadbd"}`))
	f.Add([]byte(`{"__REALTIME_TIMESTAMP":"1","MESSAGE":[104,105,255],"SYSLOG_IDENTIFIER":null}`))
	f.Add([]byte(`{"__REALTIME_TIMESTAMP":{},"MESSAGE":["a"]}`))
	f.Add([]byte(`{"__REALTIME_TIMESTAMP":"1","PRIORITY":"-9","MESSAGE":"\u0000"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		entry, ok := parseEntry(line)
		switch {
		case !ok && !entry.Time.IsZero():
			t.Errorf("%q is refused and has %+v", line, entry)
		case ok && !json.Valid(line):
			t.Errorf("%q is not JSON and passed", line)
		case ok && (!utf8.ValidString(entry.Message) || len(entry.Message) > maxMessage):
			t.Errorf("message %q of %q", entry.Message, line)
		case ok && (entry.Priority < 0 || entry.Priority > 7):
			t.Errorf("priority %d of %q", entry.Priority, line)
		}
	})
}

// FuzzName holds that what passes as a unit's name is neither an option nor a path, and that the
// unit of a path leads back to it.
func FuzzName(f *testing.F) {
	for _, seed := range []string{"mariadb.service", "srv-mariadb.mount", "../x.service",
		"-x.service", "a\n.service", "/srv/my data", "/", "/a//b/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) == nil && (strings.ContainsAny(name, "/\n\x00 *") ||
			strings.HasPrefix(name, "-") || strings.HasPrefix(name, ".")) {
			t.Errorf("%q passed", name)
		}
		if !utf8.ValidString(name) || !strings.HasPrefix(name, "/") ||
			strings.Contains(name, "//") || strings.HasSuffix(name, "/") ||
			strings.ContainsRune(name, 0) {
			return
		}
		if back := unit.UnitNamePathUnescape(strings.TrimSuffix(MountUnit(name),
			".mount")); back != name {
			t.Errorf("%q became %q, which is %q", name, MountUnit(name), back)
		}
	})
}

// FuzzDropIn holds that nothing that runs a command passes.
func FuzzDropIn(f *testing.F) {
	f.Add("[Service]\nLimitNOFILE=10000\n")
	f.Add("[Unit]\nRequires=srv-mariadb.mount\nAfter=srv-mariadb.mount\n")
	f.Add("# a \\\n[Service]\nExecStartPre=/bin/sh\n")
	f.Add("[Service]\r\n\tExecStart = x\n[Unit]OnFailure=y")
	allow, err := NewAllowList([]string{"mariadb.service"}, nil)
	if err != nil {
		f.Fatal(err)
	}

	f.Fuzz(func(t *testing.T, content string) {
		if allow.checkContent(content) != nil {
			return
		}
		for line := range strings.Lines(content) {
			key, _, set := strings.Cut(strings.TrimSpace(line), "=")
			key = strings.TrimSpace(key)
			if set && !strings.HasPrefix(key, "#") && !strings.HasPrefix(key, ";") &&
				(strings.HasPrefix(key, "Exec") || strings.HasPrefix(key, "OnFailure") ||
					strings.HasPrefix(key, "Environment")) {
				t.Errorf("%q passed", content)
			}
		}
	})
}
