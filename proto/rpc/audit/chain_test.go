package audit_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/proto/rpc/audit"
)

const name = "controlplane"

// chain makes a chain of n records, and its heads.
func chain(t interface{ Fatal(...any) }, n int) (lines []audit.Line, heads []audit.Head) {
	head := audit.Origin(name)
	for i := range n {
		line, next, err := audit.Link(head, audit.Record{Time: time.Unix(int64(i), 0),
			Kind: audit.Refused, Who: "spiffe://understudy/operator/ann", Method: "/a/B"})
		if err != nil {
			t.Fatal(err)
		}
		lines, heads, head = append(lines, line), append(heads, next), next
	}
	return lines, heads
}

func verify(lines []audit.Line, noted ...audit.Head) audit.Result {
	v := audit.NewVerifier(name, noted...)
	for _, line := range lines {
		v.Add(line)
	}
	return v.Finish()
}

// rewritten is a line with another content, and the hash that fits it.
func rewritten(t interface{ Fatal(...any) }, line audit.Line) audit.Line {
	r, err := line.Read()
	if err != nil {
		t.Fatal(err)
	}
	r.Who = "spiffe://understudy/operator/bob"
	forged, _, err := audit.Link(audit.Head{Seq: r.Seq - 1, Hash: r.Prev}, r)
	if err != nil {
		t.Fatal(err)
	}
	return forged
}

func TestTamperingIsFound(t *testing.T) {
	t.Parallel()
	lines, heads := chain(t, 9)
	another := func(edit func([]audit.Line) []audit.Line) []audit.Line {
		return edit(slices.Clone(lines))
	}
	relinked := func(all []audit.Line) []audit.Line { // by who can compute all of it again
		_, head := all[3], audit.Head{Seq: 3, Hash: heads[2].Hash}
		for i := 3; i < len(all); i++ {
			r, err := all[i].Read()
			if err != nil {
				t.Fatal(err)
			}
			if i == 3 {
				r.Who = "spiffe://understudy/operator/bob"
			}
			all[i], head, _ = audit.Link(head, r)
		}
		return all
	}
	tests := []struct {
		name  string
		lines []audit.Line
		noted []audit.Head
		at    int64
		want  string
	}{
		{"whole", lines, heads, 0, ""},
		{"empty", nil, nil, 0, ""},
		{"row deleted", another(func(l []audit.Line) []audit.Line {
			return slices.Delete(l, 3, 4)
		}), nil, 4, "records 4 to 4 are missing"},
		{"first rows deleted", lines[2:], nil, 1, "records 1 to 2 are missing"},
		{"row changed", another(func(l []audit.Line) []audit.Line {
			l[3].Record = bytes.Replace(l[3].Record, []byte("ann"), []byte("bob"), 1)
			return l
		}), nil, 4, "it was changed"},
		{"row replaced, with its hash", another(func(l []audit.Line) []audit.Line {
			l[3] = rewritten(t, l[3])
			return l
		}), nil, 5, "does not follow the record before it"},
		{"last row replaced, with its hash", another(func(l []audit.Line) []audit.Line {
			l[8] = rewritten(t, l[8])
			return l
		}), heads[8:], 9, "it was replaced"},
		{"all computed again", another(relinked), heads[6:7], 7, "it was replaced"},
		{"reordered", another(func(l []audit.Line) []audit.Line {
			l[3], l[4] = l[4], l[3]
			return l
		}), nil, 4, "missing"},
		{"repeated", another(func(l []audit.Line) []audit.Line {
			return slices.Insert(l, 4, l[3])
		}), nil, 4, "it stands behind record 4"},
		{"end cut off", lines[:5], heads[7:8], 6, "the end was cut off: record 8 was noted"},
		{"all deleted", nil, heads[7:8], 1, "the end was cut off"},
		{"no JSON", another(func(l []audit.Line) []audit.Line {
			l[3].Record = json.RawMessage("{")
			return l
		}), nil, 4, "it cannot be read"},
		{"two notes", lines, []audit.Head{heads[1], {Seq: 2, Hash: "other"}}, 2,
			"noted with two hashes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := verify(test.lines, test.noted...)
			if test.want == "" && len(got.Problems) == 0 {
				return
			}
			if len(got.Problems) == 0 || got.Problems[0].Seq != test.at ||
				!strings.Contains(got.Problems[0].Text, test.want) {
				t.Errorf("found %v, want %q at %d", got.Problems, test.want, test.at)
			}
		})
	}
}

func TestAChainOfAnotherNameIsFound(t *testing.T) {
	t.Parallel()
	lines, _ := chain(t, 2)
	v := audit.NewVerifier("servers/db1/0")
	for _, line := range lines {
		v.Add(line)
	}
	if got := v.Finish(); len(got.Problems) != 1 ||
		!strings.Contains(got.Problems[0].Text, "of another chain") {
		t.Errorf("found %v", got.Problems)
	}
}

// Whatever is left out, changed or swapped of a chain whose end is known is found.
func TestAnyChangeIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines, heads := chain(t, rapid.IntRange(2, 12).Draw(t, "length"))
		end := heads[len(heads)-1]
		at := rapid.IntRange(0, len(lines)-1).Draw(t, "at")
		switch rapid.IntRange(0, 3).Draw(t, "attack") {
		case 0:
			lines = slices.Delete(lines, at, at+1)
		case 1:
			lines[at] = rewritten(t, lines[at])
		case 2:
			other := rapid.IntRange(0, len(lines)-1).Filter(func(i int) bool {
				return i != at
			}).Draw(t, "other")
			lines[at], lines[other] = lines[other], lines[at]
		case 3:
			body := slices.Clone(lines[at].Record)
			i := rapid.IntRange(0, len(body)-1).Draw(t, "byte")
			body[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			lines[at].Record = body
		}
		if got := verify(lines, end); len(got.Problems) == 0 {
			t.Fatalf("nothing found in %s", lines)
		}
	})
}

func TestPruning(t *testing.T) {
	t.Parallel()
	lines, heads := chain(t, 9)
	last, _, err := audit.Link(heads[8], audit.Record{Kind: audit.Pruned, Chain: name,
		Through: 6, Hash: heads[5].Hash})
	if err != nil {
		t.Fatal(err)
	}
	lines = append(lines, last)
	forged, _, err := audit.Link(heads[8], audit.Record{Kind: audit.Pruned, Chain: name,
		Through: 6, Hash: heads[4].Hash})
	if err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		lines []audit.Line
		want  string
	}{
		"pruned":           {lines[6:], ""},
		"not yet":          {lines, ""},
		"half of it":       {lines[3:], ""},
		"more than that":   {lines[7:], "records 7 to 7 are missing"},
		"with other hash":  {append(slices.Clone(lines[6:9]), forged), "what was pruned before"},
		"hole behind that": {append(slices.Clone(lines[6:7]), lines[8:]...), "records 8 to 8"},
	} {
		got := verify(test.lines, heads[2])
		if test.want == "" && len(got.Problems) > 0 || test.want != "" &&
			(len(got.Problems) == 0 || !strings.Contains(got.Problems[0].Text, test.want)) {
			t.Errorf("%s: found %v, want %q", what, got.Problems, test.want)
		}
	}
}
