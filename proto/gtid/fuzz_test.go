package gtid_test

import (
	"testing"

	"github.com/understudy-db/understudy/proto/gtid"
)

// FuzzParse reads what a log or a person gives as one GTID.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0-1-1", "4294967295-4294967295-18446744073709551615", "0-1",
		"-0-1-1", "0-1-1-1", "00-1-1", "0-1-0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := gtid.Parse(text)
		if err != nil {
			return
		}
		if again, err := gtid.Parse(g.String()); err != nil || again != g {
			t.Errorf("%q became %v, then %v: %v", text, g, again, err)
		}
	})
}

// FuzzParseState reads a binlog's state, in which a domain is named once for each server.
func FuzzParseState(f *testing.F) {
	for _, seed := range []string{"", "0-1-1,0-2-2", "0-1-1,1-1-1,0-3-2", ",", "0-1-1\n,2-2-2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := gtid.ParseState(text)
		if err != nil {
			return
		}
		if again, err := gtid.ParsePosition(p.String()); err != nil || !again.Equal(p) {
			t.Errorf("%q became %v, then %v: %v", text, p, again, err)
		}
	})
}
