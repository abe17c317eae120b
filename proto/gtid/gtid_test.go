package gtid_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/proto/gtid"
)

func position(t interface {
	Helper()
	Fatal(...any)
}, text string) gtid.Position {
	t.Helper()
	p, err := gtid.ParsePosition(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParsePosition(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                     "",
		" \n":                  "",
		"0-1-100":              "0-1-100",
		"1-2-7,0-1-100":        "0-1-100,1-2-7",
		"0-1-1, 7-1-1,\n2-3-4": "0-1-1,2-3-4,7-1-1",
		"4294967295-4294967295-18446744073709551615": "4294967295-4294967295-18446744073709551615",
		"007-01-0009": "7-1-9",
	} {
		if got := position(t, text).String(); got != want {
			t.Errorf("%q is %q, not %q", text, got, want)
		}
	}
}

func TestParsePositionRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		",", "0-1", "0-1-", "-1-1", "0-1-1,", "0-1-1,,1-1-1", "a-1-1", "0-1-1;1-1-1", "0--1-1",
		"+0-1-1", "0-1-1 1-1-1", "0-1-1,0-2-2",
		"4294967296-1-1", "0-4294967296-1", "0-1-18446744073709551616", "0-1-1-1", "0x1-1-1",
		"٣-1-1", "0-1-1\x00", strings.Repeat("9", 1<<16),
	} {
		if p, err := gtid.ParsePosition(text); err == nil {
			t.Errorf("%.40q was taken for %v", text, p)
		} else if len(err.Error()) > 400 {
			t.Errorf("message of %d bytes", len(err.Error()))
		}
	}
}

func TestParseState(t *testing.T) {
	t.Parallel()
	state, err := gtid.ParseState("0-1-10,0-2-12,0-3-4,1-1-1")
	// written last, though another server wrote a higher number before
	if err != nil || state.String() != "0-3-4,1-1-1" {
		t.Errorf("%v %v", state, err)
	}
	if _, err := gtid.ParseState("0-1"); err == nil {
		t.Error("took half a GTID")
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b    string
		want    gtid.Relation
		missing uint64
		beyond  string
	}{
		{"", "", gtid.Equal, 0, ""},
		{"0-1-5", "0-1-5", gtid.Equal, 0, ""},
		{"", "0-1-5", gtid.Behind, 5, ""},
		{"0-1-5", "", gtid.Ahead, 0, "0-1-5"},
		{"0-1-5", "0-2-7", gtid.Behind, 2, ""},
		{"0-1-7", "0-2-7", gtid.Diverged, 0, "0-1-7"},
		{"0-1-7,1-1-1", "0-1-8", gtid.Diverged, 1, "1-1-1"},
		{"0-1-7,1-1-1", "0-1-7", gtid.Ahead, 0, "1-1-1"},
		{"0-1-6,1-1-9", "0-1-8,1-1-9,2-1-1", gtid.Behind, 3, ""},
		{"0-1-1,2-1-1", "0-1-18446744073709551615,1-1-18446744073709551615", gtid.Diverged,
			^uint64(0), "2-1-1"},
	} {
		a, b := position(t, test.a), position(t, test.b)
		if got := a.Compare(b); got != test.want {
			t.Errorf("%q is %v to %q, not %v", test.a, got, test.b, test.want)
		}
		if got := a.Missing(b); got != test.missing {
			t.Errorf("%q lacks %d of %q, not %d", test.a, got, test.b, test.missing)
		}
		if got := a.Beyond(b).String(); got != test.beyond {
			t.Errorf("%q is beyond %q by %q, not %q", test.a, test.b, got, test.beyond)
		}
	}
}

func TestBetween(t *testing.T) {
	t.Parallel()
	p := position(t, "0-1-5")
	if err := p.Between(position(t, "0-1-4"), position(t, "0-1-6")); err != nil {
		t.Error(err)
	}
	if err := p.Between(position(t, "0-1-6"), position(t, "0-1-7")); err == nil ||
		!strings.Contains(err.Error(), "0-1-5 is before 0-1-6") {
		t.Error(err)
	}
	if err := p.Between(gtid.Position{}, gtid.Position{}); err == nil ||
		!strings.Contains(err.Error(), "past (empty)") {
		t.Error(err)
	}
}

func TestTextMarshalling(t *testing.T) {
	t.Parallel()
	var p gtid.Position
	if err := p.UnmarshalText([]byte("1-1-1,0-1-2")); err != nil {
		t.Fatal(err)
	}
	if text, err := p.MarshalText(); err != nil || string(text) != "0-1-2,1-1-1" {
		t.Errorf("%s %v", text, err)
	}
	if err := p.UnmarshalText([]byte("x")); err == nil {
		t.Error("took x")
	}
}

// drawn is a position over few domains, servers and numbers, so that draws meet.
func drawn(t *rapid.T, label string) gtid.Position {
	return gtid.Of(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) gtid.GTID {
		return gtid.GTID{
			Domain:   rapid.Uint32Range(0, 3).Draw(t, "domain"),
			ServerID: rapid.Uint32Range(1, 3).Draw(t, "server"),
			Sequence: rapid.Uint64Range(0, 6).Draw(t, "sequence"),
		}
	}), 0, 5).Draw(t, label)...)
}

func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawn(t, "a"), drawn(t, "b"), drawn(t, "c")
		if again := position(t, a.String()); !again.Equal(a) {
			t.Fatal("text does not lead back to", a)
		}
		if a.Contains(b) && b.Contains(c) && !a.Contains(c) {
			t.Fatal("Contains is not transitive", a, b, c)
		}
		if (a.Compare(b) == gtid.Equal) != a.Equal(b) {
			t.Fatal("Compare and Equal disagree", a, b)
		}
		if mirrored := map[gtid.Relation]gtid.Relation{gtid.Equal: gtid.Equal,
			gtid.Ahead: gtid.Behind, gtid.Behind: gtid.Ahead,
			gtid.Diverged: gtid.Diverged}; b.Compare(a) != mirrored[a.Compare(b)] {
			t.Fatal("Compare is not antisymmetric", a, b)
		}
		if b.Contains(a) != a.Beyond(b).IsEmpty() {
			t.Fatal("Beyond and Contains disagree", a, b)
		}
		if a.Contains(b) && a.Missing(b) != 0 {
			t.Fatal("contained, but something is missing", a, b)
		}
		if u := a.Union(b); u.Missing(a) != 0 || u.Missing(b) != 0 {
			t.Fatal("Union lacks something", a, b)
		}
	})
}

func FuzzParsePosition(f *testing.F) {
	for _, seed := range []string{"", "0-1-1", "0-1-1,1-1-1", ",", "-", "0-1-1\n,2-2-2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := gtid.ParsePosition(text)
		if err != nil {
			return
		}
		again, err := gtid.ParsePosition(p.String())
		if err != nil || !again.Equal(p) {
			t.Errorf("%q became %v, then %v: %v", text, p, again, err)
		}
	})
}
