package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// side is a server with one table of numbered rows.
type side struct {
	rows  map[int]int
	reads int
	after func(reads int) // each reading
	busy  string
	unfit string
	err   error
	// hash is how rows are hashed, listed the tables when there is more than one.
	hash   int
	listed []kit.Table
}

func number(key []string, none int) int {
	if len(key) == 0 {
		return none
	}
	n, err := strconv.Atoi(key[0])
	if err != nil {
		panic(err)
	}
	return n
}

func (s *side) Tables(context.Context) ([]kit.Table, error) {
	if s.listed != nil {
		return s.listed, nil
	}
	return []kit.Table{{Name: "a.t", Rows: int64(len(s.rows))}}, nil
}

func (s *side) sum(c kit.RowRange) kit.RowSum {
	got := kit.RowSum{RowRange: c}
	total := 0
	for id, v := range s.rows {
		if id > number(c.After, -1) && id <= number(c.Last, 1<<30) {
			got.Rows++
			total += id*1000003 + v*7919
		}
	}
	got.Sum = strconv.Itoa(total)
	return got
}

func (s *side) ChecksumRows(_ context.Context, req kit.ChecksumRows) (kit.RowSums, error) {
	sums := kit.RowSums{GTID: "0-1-1", Busy: s.busy, Unfit: s.unfit, RowHash: s.hash}
	if s.err != nil || s.busy+s.unfit != "" {
		return sums, s.err
	}
	for _, c := range req.Chunks {
		sums.Sums = append(sums.Sums, s.sum(c))
	}
	if len(req.Chunks) == 0 {
		var ids []int
		for id := range s.rows {
			if id > number(req.After, -1) {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		c := kit.RowRange{After: req.After}
		if int64(len(ids)) >= req.Rows {
			c.Last = []string{strconv.Itoa(ids[req.Rows-1])}
		}
		sums.Sums = []kit.RowSum{s.sum(c)}
	}
	if s.reads++; s.after != nil {
		s.after(s.reads)
	}
	return sums, nil
}

func filled(rows int) *side {
	s := &side{rows: map[int]int{}}
	for id := range rows {
		s.rows[id] = 1
	}
	return s
}

// compared is the proof that a pass over the table comes to.
func compared(t *testing.T, primary, replica *side) (Proof, *work) {
	t.Helper()
	rec := &Record{}
	tables, _ := primary.Tables(t.Context())
	rec.begin(time.Now(), "db1", "", tables)
	w := &work{primary: primary, replica: replica, rec: rec, pending: tables, now: time.Now}
	for len(w.pending) > 0 {
		w.used = 0
		if err := w.run(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	return rec.Tables["a.t"], w
}

func TestEqualTableIsProved(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{0, 1, 999, 1000, 1001, 12345} {
		p, w := compared(t, filled(rows), filled(rows))
		if p.Proved.IsZero() || p.Rows != int64(rows) || p.Open != 0 || p.Different != nil {
			t.Errorf("%d rows: %+v", rows, p)
		}
		if c := w.rec.Coverage(time.Now()); c.Share != 1 || c.Fresh != 1 || c.Oldest.IsZero() {
			t.Errorf("%d rows: %+v", rows, c)
		}
		if c := w.rec.Coverage(time.Now().Add(25 * time.Hour)); c.Share != 0 || c.Fresh != 0 {
			t.Errorf("a day later: %+v", c)
		}
	}
}

func TestDifferentChunkIsNamed(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(*side){
		"changed": func(s *side) { s.rows[4242] = 2 },
		"missing": func(s *side) { delete(s.rows, 4242) },
		"extra":   func(s *side) { s.rows[70000] = 1 },
	} {
		primary, replica := filled(6000), filled(6000)
		plant(replica)
		p, w := compared(t, primary, replica)
		if !p.Proved.IsZero() || len(p.Different) != 1 {
			t.Errorf("%s: %+v", name, p)
			continue
		}
		if c := w.rec.Coverage(time.Now()); len(c.Different) != 1 ||
			!strings.Contains(c.Different[0], "table a.t (rows after") || c.Share != 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestHotRowsAreNoDifference changes rows on the primary between any two readings; the replica
// applies what the primary had when it is read.
func TestHotRowsAreNoDifference(t *testing.T) {
	t.Parallel()
	primary, replica := filled(3000), filled(3000)
	value := 1
	primary.after = func(int) {
		for id := range primary.rows { // what the replica applies lags by one change
			replica.rows[id] = primary.rows[id]
		}
		value++
		replica.rows[77], primary.rows[77] = -value, value+1
		primary.rows[3000+value] = 1
	}
	replica.after = func(int) { value++; primary.rows[77] = value + 1 }
	p, _ := compared(t, primary, replica)
	if len(p.Different) > 0 || p.Proved.IsZero() || p.Open == 0 || p.Open > 4 {
		t.Errorf("%+v", p)
	}
}

// TestColdRowBesideAHotOneIsCompared has a row that differs between two that change with each
// reading.
func TestColdRowBesideAHotOneIsCompared(t *testing.T) {
	t.Parallel()
	primary, replica := filled(3000), filled(3000)
	value := 1
	heat := func(s *side) func(int) {
		return func(int) {
			value++
			s.rows[76], s.rows[78] = value, 10*value
		}
	}
	primary.after, replica.after = heat(primary), heat(replica)
	primary.after(0)
	if p, _ := compared(t, primary, replica); p.Open != 2 || p.Proved.IsZero() {
		t.Errorf("two hot rows: %+v", p)
	}
	replica.rows[77] = 5
	if p, _ := compared(t, primary, replica); len(p.Different) != 1 ||
		!slices.Equal(p.Different[0].Last, []string{"77"}) {
		t.Errorf("the row between them differs: %+v", p)
	}
}

// TestManyHotRowsEnd has a table of which each row changes with each reading.
func TestManyHotRowsEnd(t *testing.T) {
	t.Parallel()
	primary, replica := filled(2000), filled(2000)
	value := 1
	primary.after = func(int) {
		value++
		for id := range primary.rows {
			primary.rows[id] = value
		}
	}
	primary.after(0)
	if p, _ := compared(t, primary, replica); p.Open != 2000 || len(p.Different) > 0 ||
		primary.reads > 2*tries*2*mostSplits {
		t.Errorf("%d readings: %+v", primary.reads, p)
	}
}

// TestChunkThatShrinksIsCompared deletes most rows of a hot chunk while it is halved.
func TestChunkThatShrinksIsCompared(t *testing.T) {
	t.Parallel()
	primary, replica := filled(1000), filled(1000)
	value := 1
	primary.after = func(reads int) {
		value++
		primary.rows[5] = value
		if reads == 2*tries {
			for id := 20; id < 1000; id++ {
				delete(primary.rows, id)
				delete(replica.rows, id)
			}
		}
	}
	if p, _ := compared(t, primary, replica); p.Open > 2 || len(p.Different) > 0 {
		t.Errorf("%+v", p)
	}
}

// TestChangeInBetweenIsNoDifference changes a row once, between the readings of both sides.
func TestChangeInBetweenIsNoDifference(t *testing.T) {
	t.Parallel()
	primary, replica := filled(10), filled(10)
	primary.after = func(reads int) {
		if reads == 1 {
			primary.rows[3], replica.rows[3] = 9, 9
		}
	}
	if p, _ := compared(t, primary, replica); p.Open != 0 || len(p.Different) > 0 ||
		p.Proved.IsZero() {
		t.Errorf("%+v", p)
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	primary, replica := filled(10), filled(10)
	primary.unfit = "a restart empties a MEMORY table"
	if p, w := compared(t, primary, replica); p.Unfit == "" || !p.Proved.IsZero() ||
		w.rec.Coverage(time.Now()).Share != 0 {
		t.Errorf("unfit: %+v", p)
	}
	primary, replica = filled(10), filled(10)
	replica.unfit = "error 194"
	if p, _ := compared(t, primary, replica); len(p.Different) != 1 {
		t.Errorf("on the replica alone: %+v", p)
	}
	replica.unfit, replica.busy = "", "the host is loaded"
	rec := &Record{}
	rec.begin(time.Now(), "db1", "", []kit.Table{{Name: "a.t"}})
	w := &work{primary: primary, replica: replica, rec: rec, pending: []kit.Table{{Name: "a.t"}},
		now: time.Now}
	err := w.run(t.Context(), time.Second)
	if err == nil || len(w.pending) != 1 || rec.Pass.Rows != 0 {
		t.Errorf("busy: %v %+v", err, rec)
	}
	replica.busy = ""
	if err := w.run(t.Context(), time.Second); err != nil || rec.Tables["a.t"].Rows != 10 {
		t.Errorf("busy no more: %v %+v", err, rec)
	}
}

// TestReplicaAheadOfADropIsNoDifference drops the table on both sides, where the replica is read
// next, and has one reading of the replica fail.
func TestReplicaAheadOfADropIsNoDifference(t *testing.T) {
	t.Parallel()
	primary, replica := filled(10), filled(10)
	primary.after = func(int) { primary.unfit, replica.unfit = "it is gone", "it is gone" }
	rec := &Record{}
	tables, _ := primary.Tables(t.Context())
	rec.begin(time.Now(), "db1", "", tables)
	w := &work{primary: primary, replica: replica, rec: rec, pending: tables, now: time.Now}
	for range 2 {
		_ = w.run(t.Context(), time.Second) // the first one is told that nothing can be read
	}
	if p := rec.Tables["a.t"]; len(p.Different) > 0 || p.Unfit == "" {
		t.Errorf("dropped: %+v", p)
	}
	primary, replica = filled(10), filled(10)
	primary.after = func(reads int) {
		replica.unfit = ""
		if reads == 1 {
			replica.unfit = "the statement was killed"
		}
	}
	if p, _ := compared(t, primary, replica); len(p.Different) > 0 || p.Proved.IsZero() {
		t.Errorf("killed once: %+v", p)
	}
}

// TestDifferenceStaysUntilThePassThatFindsNone has a round that cannot read the table.
func TestDifferenceStaysUntilThePassThatFindsNone(t *testing.T) {
	t.Parallel()
	primary, replica := filled(10), filled(10)
	_, w := compared(t, primary, replica)
	again := func() Coverage {
		w.pending, _ = primary.Tables(t.Context())
		if err := w.run(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		return w.rec.Coverage(time.Now())
	}
	replica.rows[3] = 2
	if c := again(); len(c.Different) != 1 || c.Share != 0 || c.Fresh != 0 {
		t.Errorf("a table that differs is covered: %+v", c)
	}
	primary.unfit = "Lock wait timeout"
	if c := again(); len(c.Different) != 1 {
		t.Errorf("a table that cannot be read is equal: %+v", c)
	}
	primary.unfit, replica.rows[3] = "", 1
	if c := again(); len(c.Different) > 0 || c.Share != 1 {
		t.Errorf("%+v", c)
	}
}

// TestPartThatTakesTooLongIsMadeSmaller has a call that ends with its deadline.
func TestPartThatTakesTooLongIsMadeSmaller(t *testing.T) {
	t.Parallel()
	primary := filled(10)
	primary.err = errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_TIMEOUT, "too long")
	rec := &Record{}
	rec.begin(time.Now(), "db1", "", nil)
	w := &work{primary: primary, replica: primary, rec: rec, pending: []kit.Table{{Name: "a.t"}},
		now: time.Now}
	for n := 1; len(w.pending) > 0; n++ {
		if err := w.run(t.Context(), time.Second); n > mostBusy || (err == nil) != (n == mostBusy) {
			t.Fatalf("%d: %v", n, err)
		}
	}
}

// TestTableThatIsRefusedIsLeftToTheNextRound has a table whose key is not the one of the part.
func TestTableThatIsRefusedIsLeftToTheNextRound(t *testing.T) {
	t.Parallel()
	primary, replica := filled(5000), filled(5000)
	rec := &Record{}
	rec.begin(time.Now(), "db1", "", []kit.Table{{Name: "a.t", Rows: 5000}})
	w := &work{primary: primary, replica: replica, rec: rec, now: time.Now,
		pending: []kit.Table{{Name: "a.t", Rows: 5000}}}
	rec.Pass = Pass{Began: time.Now(), After: []string{"4000"}, ChunkRows: 10}
	primary.err = errors.New("a key has 1 columns, the primary key has 2")
	if err := w.run(t.Context(), time.Second); err == nil || len(rec.Pass.After) != 0 {
		t.Errorf("%v %+v", err, rec.Pass)
	}
	primary.err = nil
	if err := w.run(t.Context(), time.Second); err != nil || rec.Tables["a.t"].Rows != 5000 {
		t.Errorf("the pass goes on from an old key: %v %+v", err, rec.Tables)
	}
	w.pending, primary.err = []kit.Table{{Name: "a.t"}}, errors.New("refused")
	for n := 1; len(w.pending) > 0; n++ {
		if err := w.run(t.Context(), time.Second); n > mostBusy || (err == nil) != (n == mostBusy) {
			t.Fatalf("%d: %v", n, err)
		}
	}
	if p := rec.Tables["a.t"]; p.Unfit != "refused" || !p.Skipped {
		t.Errorf("%+v", p)
	}
}

func TestNewPrimaryTakesProofsAway(t *testing.T) {
	t.Parallel()
	_, w := compared(t, filled(5), filled(5))
	tables := []kit.Table{{Name: "a.t", Rows: 5}, {Name: "a.new", Rows: 5}}
	same, other := w.rec.clone(), w.rec.clone()
	same.begin(time.Now(), "db1", "", tables)
	other.begin(time.Now(), "db9", "", tables)
	if got := fmt.Sprintf("%.1f %.1f", same.Coverage(time.Now()).Share,
		other.Coverage(time.Now()).Share); got != "0.5 0.0" {
		t.Error(got)
	}
}
