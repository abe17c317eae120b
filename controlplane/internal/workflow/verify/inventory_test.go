package verify

import (
	"context"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// listed is a server with some objects, digested in a way.
type listed struct {
	digests int
	objects []kit.Object
}

func (l listed) Inventory(_ context.Context, _ []string, each func(kit.Object)) (int, error) {
	for _, o := range l.objects {
		each(o)
	}
	return l.digests, nil
}

func inventories(primary, replica Lister) Inventories {
	return Inventories{Primary: primary, Replica: replica,
		Pass:  func(context.Context) (string, error) { return "0-1-1", nil },
		Found: func(string, ...any) {}}
}

// TestInventoriesOfTwoDigestsAreNotCompared: they would differ, or seem to be equal.
func TestInventoriesOfTwoDigestsAreNotCompared(t *testing.T) {
	t.Parallel()
	_, err := inventories(listed{}, listed{digests: 1}).Compare(t.Context())
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_UNIMPLEMENTED {
		t.Errorf("%v", err)
	}
}

// TestWhatNoAgentDigestsIsNotEqual has two sides without a digest, and without a reason.
func TestWhatNoAgentDigestsIsNotEqual(t *testing.T) {
	t.Parallel()
	both := listed{objects: []kit.Object{{Kind: "routine", Name: "shop.p procedure"},
		{Kind: "view", Name: "shop.v", Digest: "1"}}}
	got, err := inventories(both, both).Compare(t.Context())
	if err != nil || len(got.Different.Found) > 0 || len(got.Open) != 1 {
		t.Errorf("%+v %v", got, err)
	}
}

// TestWhatIsClosedOnBothSidesIsTold: a table whose tablespace was discarded on the primary is no
// better on its copy, and nobody has read its rows.
func TestWhatIsClosedOnBothSidesIsTold(t *testing.T) {
	t.Parallel()
	closed := listed{objects: []kit.Object{{Kind: "table", Name: "shop.t", Problem: "discarded"}}}
	var told []string
	pair := inventories(closed, closed)
	pair.Found = func(format string, args ...any) {
		told = append(told, kit.Sprintf(format, args...))
	}
	got, err := pair.Compare(t.Context())
	if err != nil || len(got.Different.Found)+len(got.Open) > 0 || len(told) != 1 ||
		!strings.Contains(told[0], "nor on its copy: table shop.t (discarded)") {
		t.Errorf("%+v %v %q", got, err, told)
	}
}

// TestWhatThePrimaryAloneCannotOpenDiffers: it was discarded there without the binary log.
func TestWhatThePrimaryAloneCannotOpenDiffers(t *testing.T) {
	t.Parallel()
	closed := kit.Object{Kind: "table", Name: "shop.t", Problem: "discarded"}
	whole := kit.Object{Kind: "table", Name: "shop.t", Digest: "1"}
	got, err := inventories(listed{objects: []kit.Object{closed}},
		listed{objects: []kit.Object{whole}}).Compare(t.Context())
	if err != nil || len(got.Different.Found) != 1 ||
		!strings.Contains(got.Different.Found[0], "cannot be opened on the primary: discarded") {
		t.Errorf("%+v %v", got, err)
	}
}

// TestEachDifferenceIsHintedAtWithWhatHelps has objects that a fresh copy would have again, alone
// and beside one that it has not.
func TestEachDifferenceIsHintedAtWithWhatHelps(t *testing.T) {
	t.Parallel()
	far := kit.Object{Kind: "table", Name: "shop.far", Digest: "1", Remote: true}
	zones := kit.Object{Kind: "time zones", Name: "mysql.time_zone_name", Digest: "1", Value: "9"}
	order := kit.Object{Kind: "collation", Name: "utf8mb4_own", Digest: "1"}
	view := kit.Object{Kind: "view", Name: "shop.v", Digest: "1"}
	changed := func(o kit.Object, problem string) kit.Object {
		o.Digest, o.Problem = "2", problem
		return o
	}
	const rebuilds, verifies = "rebuild the replica", "then verify it again"
	for name, c := range map[string]struct {
		primary, replica []kit.Object
		says             []string
		without          string
	}{
		"a view": {[]kit.Object{view}, nil, []string{rebuilds}, verifies},
		"a table of another server": {[]kit.Object{far}, []kit.Object{changed(far, "remote")},
			[]string{"drop the tables of other servers on db1", verifies}, rebuilds},
		"one that is gone on the replica": {[]kit.Object{far}, nil,
			[]string{"drop the tables of other servers on db1"}, rebuilds},
		"time zones": {[]kit.Object{zones}, []kit.Object{changed(zones, "")},
			[]string{"mariadb-tzinfo-to-sql", "on db1", verifies}, rebuilds},
		"time zones that cannot be read": {[]kit.Object{zones},
			[]kit.Object{changed(zones, "error 145")}, []string{rebuilds}, "tzinfo"},
		"a collation": {[]kit.Object{order}, []kit.Object{changed(order, "")},
			[]string{"Index.xml", "then " + rebuilds}, verifies},
		"several": {[]kit.Object{far, zones, view},
			[]kit.Object{changed(far, "remote"), changed(zones, ""), changed(view, "")},
			[]string{"drop the tables", "tzinfo", "then " + rebuilds}, verifies},
	} {
		got, err := inventories(listed{objects: c.primary},
			listed{objects: c.replica}).Compare(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hint := replication.Differs("db2", "db1", got.Different).Hint
		for _, says := range c.says {
			if !strings.Contains(hint.Text, says) {
				t.Errorf("%s: the hint %q lacks %q", name, hint.Text, says)
			}
		}
		if strings.Contains(hint.Text, c.without) {
			t.Errorf("%s: the hint %q says %q", name, hint.Text, c.without)
		}
		if rebuild := hint.Actions[0].Method == "RebuildReplica"; len(hint.Actions) != 1 ||
			rebuild != strings.Contains(hint.Text, rebuilds) {
			t.Errorf("%s: %q has the actions %v", name, hint.Text, hint.Actions)
		}
	}
}

// scripted is a server with one object, which is another in each round.
type scripted struct {
	rounds []kit.Object
	asked  int
}

func (s *scripted) Inventory(_ context.Context, _ []string, each func(kit.Object)) (int, error) {
	each(s.rounds[s.asked])
	s.asked++
	return 0, nil
}

// TestALockedRoundHidesNoDifference: what was locked in one round counts in those beside it.
func TestALockedRoundHidesNoDifference(t *testing.T) {
	t.Parallel()
	a := kit.Object{Kind: "view", Name: "shop.v", Digest: "1"}
	b, lock, changed := a, a, a
	b.Digest, changed.Digest = "2", "3"
	lock.Digest, lock.Problem, lock.Busy = "", "lock wait timeout", true
	type rounds []kit.Object
	for name, c := range map[string]struct {
		primary, replica rounds
		differs          bool
	}{
		"before the last round": {rounds{a, a, lock, a}, rounds{b, b, b, b}, true},
		"before it, there":      {rounds{a, a, a, a}, rounds{b, b, lock, b}, true},
		"in the last round":     {rounds{a, a, a, lock}, rounds{b, b, b, b}, true},
		"in it, there":          {rounds{a, a, a, a}, rounds{b, b, b, lock}, true},
		"in all but one":        {rounds{lock, lock, lock, a}, rounds{b, b, b, b}, false},
		"beside a change":       {rounds{a, a, lock, changed}, rounds{b, b, b, b}, false},
	} {
		got, err := inventories(&scripted{rounds: c.primary},
			&scripted{rounds: c.replica}).Compare(t.Context())
		if err != nil || len(got.Different.Found)+len(got.Open) != 1 ||
			(len(got.Different.Found) == 1) != c.differs {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}
