package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

func sum(table string, checksum uint64) kit.TableChecksum {
	return kit.TableChecksum{Table: table, Checksum: checksum, Consistent: true,
		DefinitionHash: "h",
		Bytes:          10}
}

func sides(primary, replica kit.TableChecksum) history {
	return history{primary: primary, replica: replica, read: true}
}

func unstable(h history) history {
	h.unstable = true
	return h
}

// locked is a table that a round could not read.
func locked(name string) kit.TableChecksum {
	return kit.TableChecksum{Table: name, Problem: "1205", Busy: true}
}

func sumsOf(list ...kit.TableChecksum) sums {
	s := sums{}
	for _, t := range list {
		s[t.Table] = t
	}
	return s
}

func TestCompare(t *testing.T) {
	t.Parallel()
	with := func(t kit.TableChecksum,
		change func(*kit.TableChecksum)) kit.TableChecksum {
		change(&t)
		return t
	}
	cases := map[string]struct {
		primary, replica     sums
		equal                int
		different, unsettled []string
	}{
		"equal": {sumsOf(sum("a.t", 1), sum("a.u", 2)),
			sumsOf(sum("a.t", 1), sum("a.u", 2)), 2, nil, nil},
		"nothing": {nil, nil, 0, nil, nil},
		"a row differs": {sumsOf(sum("a.t", 1)), sumsOf(sum("a.t", 2)), 0, []string{"a.t"},
			nil},
		"made meanwhile":    {sumsOf(sum("a.t", 1)), nil, 0, nil, []string{"a.t"}},
		"dropped meanwhile": {nil, sumsOf(sum("a.t", 1)), 0, nil, []string{"a.t"}},
		"altered meanwhile": {sumsOf(with(sum("a.t", 1),
			func(t *kit.TableChecksum) { t.DefinitionHash = "i" })), sumsOf(sum("a.t", 2)), 0, nil,
			[]string{"a.t"}},
		"missing on one": {sumsOf(with(sum("a.t", 0),
			func(t *kit.TableChecksum) { t.Missing = true })), sumsOf(sum("a.t", 2)), 0, nil,
			[]string{"a.t"}},
		"dropped on both": {sumsOf(with(sum("a.t", 0),
			func(t *kit.TableChecksum) { t.Missing = true })), nil, 0, nil, nil},
		"unread on both": {sumsOf(with(sum("a.t", 0),
			func(t *kit.TableChecksum) { t.Problem = "1030" })), sumsOf(with(sum("a.t", 0),
			func(t *kit.TableChecksum) { t.Problem = "1030" })), 0, nil, []string{"a.t"}},
		"without rows of its own": {sumsOf(with(sum("a.t", 0),
			func(t *kit.TableChecksum) { t.LeftOut = "MERGE" })), sumsOf(with(sum("a.t", 0),
			func(t *kit.TableChecksum) { t.LeftOut = "MERGE" })), 0, nil, nil},
		"without rows on the replica alone": {sumsOf(sum("a.t", 1)), sumsOf(with(sum("a.t", 0),
			func(t *kit.TableChecksum) { t.LeftOut = "MERGE" })), 0, nil, []string{"a.t"}},
		"no read view": {sumsOf(with(sum("a.t", 1),
			func(t *kit.TableChecksum) { t.Consistent = false })), sumsOf(sum("a.t", 2)), 0, nil,
			[]string{"a.t"}},
		"no view, but equal": {sumsOf(with(sum("a.t", 1),
			func(t *kit.TableChecksum) { t.Consistent = false })), sumsOf(sum("a.t", 1)), 1, nil,
			nil},
	}
	for name, c := range cases {
		got := compare(c.primary, c.replica)
		if len(got.equal) != c.equal || len(got.different) != len(c.different) ||
			!slices.Equal(got.unsettled, c.unsettled) {
			t.Errorf("%s: %+v", name, got)
		}
		for i, table := range c.different {
			if !strings.HasPrefix(got.different[i], table) {
				t.Errorf("%s: %v", name, got.different)
			}
		}
	}
}

func TestJudgeTellsWhatHeldStill(t *testing.T) {
	t.Parallel()
	one, two, seven := sum("a.m", 1), sum("a.m", 2), sum("a.m", 7)
	other, none := one, kit.TableChecksum{Table: "a.m", Missing: true}
	other.DefinitionHash = "other"
	larger := one
	larger.Bytes++ // some engines estimate it
	for name, c := range map[string]struct {
		before, now history
		moved       []string
		says        string
		open        bool
	}{
		"the replica's is another": {sides(one, two), sides(one, two), nil,
			"1 on the primary, 2 on the replica", false},
		"the replica's is another, its size an estimate": {sides(larger, two), sides(one, two),
			nil, "1 on the primary, 2 on the replica", false},
		"the primary's data change": {sides(seven, two), sides(one, two), nil,
			"changes all the time", true},
		"the replica's data change": {sides(one, seven), sides(one, two), nil,
			"changes all the time", true},
		"the replica lacks it": {sides(one, one), sides(seven, kit.TableChecksum{}), nil,
			"only on one side", false},
		"the primary has it no more": {sides(one, one), sides(none, one), nil,
			"changes all the time", true},
		"the primary never had it": {sides(none, one), sides(none, two), nil,
			"only on one side", false},
		"defined in another way": {sides(one, other), sides(seven, other), nil,
			"defined in another way", false},
		"the primary's definition changes": {sides(other, other), sides(one, other), nil,
			"changes all the time", true},
		"the replica's definition changes": {sides(one, one), sides(one, other), nil,
			"changes all the time", true},
		"its definition came and went": {unstable(sides(one, other)), sides(one, other), nil,
			"changes all the time", true},
		"made again in the last round": {sides(one, other), sides(one, other),
			[]string{"a.m"}, "made or renamed meanwhile", true},
	} {
		different, open := judge([]string{"a.m"}, map[string]history{"a.m": c.before}, c.moved,
			sumsOf(c.now.primary), sumsOf(c.now.replica))
		said := append(different, open...)
		if len(said) != 1 || !strings.Contains(said[0], c.says) || (len(open) == 1) != c.open {
			t.Errorf("%s: different %v, open %v", name, different, open)
		}
	}
}

func TestJudgeTellsWhoCannotRead(t *testing.T) {
	t.Parallel()
	unread := func(busy bool) kit.TableChecksum {
		return kit.TableChecksum{Table: "a.t", Problem: "1205", Busy: busy}
	}
	for name, c := range map[string]struct {
		was, primary, replica kit.TableChecksum
		differs               bool
	}{
		"neither":                {unread(false), unread(false), unread(false), false},
		"the primary":            {unread(false), unread(false), sum("a.t", 1), false},
		"the replica, once":      {sum("a.t", 1), sum("a.t", 1), unread(false), false},
		"the replica, twice":     {unread(false), sum("a.t", 1), unread(false), true},
		"the replica, by a lock": {unread(true), sum("a.t", 1), unread(true), false},
		"the primary has it no more": {unread(false), kit.TableChecksum{Missing: true},
			unread(false), true},
	} {
		different, open := judge([]string{"a.t"}, map[string]history{
			"a.t": history{}.after(kit.TableChecksum{}, c.was)}, nil,
			sums{"a.t": c.primary}, sums{"a.t": c.replica})
		if len(different)+len(open) != 1 || (len(different) == 1) != c.differs {
			t.Errorf("%s: different %v, open %v", name, different, open)
		}
	}
}

// A lock that one round met says nothing of what the table is.
func TestALockHidesNoDifference(t *testing.T) {
	t.Parallel()
	type round [2]kit.TableChecksum
	one, two, lock := sum("a.t", 1), sum("a.t", 2), locked("a.t")
	other := one
	other.DefinitionHash = "other"
	apart, data := round{one, other}, round{one, two}
	for name, c := range map[string]struct {
		rounds  []round
		differs bool
	}{
		"first on the primary":    {[]round{{lock, other}, apart, apart}, true},
		"first on the replica":    {[]round{{one, lock}, apart, apart}, true},
		"between, on the primary": {[]round{apart, {lock, other}, apart}, true},
		"between, on the replica": {[]round{apart, {one, lock}, apart}, true},
		"last, on the primary":    {[]round{apart, apart, {lock, other}}, true},
		"last, on the replica":    {[]round{apart, apart, {one, lock}}, true},
		"between, other data":     {[]round{data, {one, lock}, data}, true},
		"last, other data":        {[]round{data, data, {lock, two}}, true},
		"before it only once":     {[]round{apart, {lock, other}, {one, lock}}, false},
		"equal once before it":    {[]round{apart, {other, other}, {one, lock}}, false},
		"always":                  {[]round{{lock, other}, {one, lock}, {lock, lock}}, false},
	} {
		var seen history
		last := c.rounds[len(c.rounds)-1]
		for _, r := range c.rounds[:len(c.rounds)-1] {
			seen = seen.after(r[0], r[1])
		}
		different, open := judge([]string{"a.t"}, map[string]history{"a.t": seen}, nil,
			sums{"a.t": last[0]}, sums{"a.t": last[1]})
		if len(different)+len(open) != 1 || (len(different) == 1) != c.differs {
			t.Errorf("%s: different %v, open %v", name, different, open)
		}
	}
}
