package mariadb

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzOption reads lines of option files, and writes one option into a file: it is there then,
// once, and the rest is as it was.
func FuzzOption(f *testing.F) {
	f.Add("[mariadbd]\nserver-id=7\n", "--server-id=7")
	f.Add("", "skip-slave-start")
	f.Add("loose_a=1\nA = 2\n\n#a=3", "loose-a = b=c")
	f.Fuzz(func(t *testing.T, content, line string) {
		o, ok := parseOption(line)
		if !ok || strings.ContainsAny(line, "\n\r") {
			return
		}
		if again, ok := parseOption(o.String()); !ok || again.Name != normal(o.Name) {
			t.Errorf("%q became %+v, then %+v", line, o, again)
		}
		o.Name = normal(o.Name)
		if o.Name == "" {
			return
		}
		once := withOption([]byte(content), o)
		if !bytes.Contains(once, []byte(o.String())) {
			t.Errorf("%q is not in %q", o, once)
		}
		if twice := withOption(once, o); !bytes.Equal(once, twice) {
			t.Errorf("%q became %q", once, twice)
		}
	})
}

// FuzzReserved puts the block that keeps binary logs into any option file, and takes it out again.
func FuzzReserved(f *testing.F) {
	f.Add([]byte("[mariadbd]\nserver_id=7\n"))
	f.Add([]byte(reservedBlock))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		on := withReserved(content, true)
		if !bytes.HasSuffix(on, []byte(reservedBlock)) || !bytes.Equal(withReserved(on, true), on) {
			t.Errorf("%q became %q", content, on)
		}
		off := withReserved(on, false)
		if len(content) > 0 && !bytes.Equal(off, withReserved(content, false)) &&
			!bytes.Equal(off, []byte(header)) {
			t.Errorf("%q became %q", content, off)
		}
	})
}

// FuzzVersion reads what servers and files say of their version.
func FuzzVersion(f *testing.F) {
	for _, seed := range []string{"11.8.6-MariaDB-0+deb13u1",
		"mariadbd  Ver 10.11.14-MariaDB for debian", "999.999.999", "1.2", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, ok := parseVersion(text)
		if !ok {
			return
		}
		if again, ok := parseVersion(v.String()); v != (Version{}) && (!ok || again != v) {
			t.Errorf("%q became %v, then %v", text, v, again)
		}
	})
}

// FuzzQuote holds that no text leaves its quotes.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "a'b", "a\\", "`", "\\'", "''", "a\x00b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		body := identifier(text)
		if strings.Contains(strings.ReplaceAll(body[1:len(body)-1], "``", ""), "`") {
			t.Errorf("%q", body)
		}
		body = literal(text)
		body = body[1 : len(body)-1]
		for i := 0; i < len(body); i++ {
			switch body[i] {
			case '\\':
				i++
			case '\'':
				if i+1 >= len(body) || body[i+1] != '\'' {
					t.Errorf("%q ends early", body)
				}
				i++
			}
			if i >= len(body) {
				t.Errorf("%q escapes its end", body)
			}
		}
	})
}
