package proof

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestWhatProvesAllDataSinceATime(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	began := since.Add(time.Minute)
	whole := func() Record {
		return Record{Began: began, Ended: began.Add(time.Hour), Tables: map[string]Proof{
			"a.t": {Proved: began.Add(time.Minute)}, "a.m": {Unfit: "a MEMORY table"}}}
	}
	for name, spoil := range map[string]func(*Record){
		"":                func(*Record) {},
		"it began before": func(r *Record) { r.Began = since.Add(-time.Second) },
		"it goes on":      func(r *Record) { r.Ended = time.Time{} },
		"a row changes too fast": func(r *Record) {
			r.Tables["a.t"] = Proof{Proved: began.Add(time.Minute), Open: 1}
		},
		"an object is locked": func(r *Record) { r.Open = 1 },
		"an object differs":   func(r *Record) { r.Objects = []string{"view a.v"} },
		"a table of an earlier round": func(r *Record) {
			r.Tables["a.o"] = Proof{Proved: since.Add(-time.Hour)}
		},
		"a table could not be read": func(r *Record) { r.skip("a.t", 1, "it took too long") },
		"a table differs": func(r *Record) {
			r.Tables["a.t"] = Proof{Proved: began, Different: []Difference{{}}}
		},
	} {
		r := whole()
		spoil(&r)
		if proved := r.provedSince(since); proved != (name == "") {
			t.Errorf("%q: %t", name, proved)
		}
	}
}

// TestAProofIsOfThePrimaryThatIsFollowed, and of the history that its binary log has.
func TestAProofIsOfThePrimaryThatIsFollowed(t *testing.T) {
	t.Parallel()
	since := time.Now()
	v := New(Config{})
	v.replicas["db2"] = &replica{rec: Record{Primary: "db1", History: "one", Volume: "v1",
		Began: since.Add(time.Second), Ended: since.Add(time.Minute)}}
	for name, c := range map[string]struct {
		change func(*inventory.Server)
		proved bool
	}{
		"as it was":              {func(*inventory.Server) {}, true},
		"its history is unknown": {func(s *inventory.Server) { s.History = "" }, true},
		"another history":        {func(s *inventory.Server) { s.History = "two" }, false},
		"another primary":        {func(s *inventory.Server) { s.Primary = "db9" }, false},
		"another volume":         {func(s *inventory.Server) { s.DataVolume = "v2" }, false},
	} {
		s := replicaOf("db2", "db1")
		s.History = "one"
		c.change(&s)
		if got := v.ProvedSince(s, since); got != c.proved {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// told is an agent of a server with one table, and a history of its binary log.
type told struct {
	kit.Agent
	history string
}

func (a told) Tables(context.Context) ([]kit.Table, error) {
	return []kit.Table{{Name: "a.t", Rows: 1}}, nil
}

func (a told) Status(context.Context) (replication.Status, error) {
	return replication.Status{Answers: true, BinlogHistory: a.history}, nil
}

func (a told) Inventory(context.Context, []string, func(kit.Object)) (int, error) { return 0, nil }

func (a told) WaitForGTID(context.Context, string, time.Duration, func(kit.Waited)) (bool, error) {
	return true, nil
}

// TestARoundBeginsAgainWithAnotherHistory, also one that another process began.
func TestARoundBeginsAgainWithAnotherHistory(t *testing.T) {
	t.Parallel()
	v, began := New(Config{Interval: time.Hour}), time.Now().Add(-time.Minute)
	for history, goesOn := range map[string]bool{"one": true, "two": false} {
		w := &work{rec: &Record{Primary: "db1", History: "one", Began: began,
			Tables: map[string]Proof{"a.t": {Proved: began}}, Listed: map[string]string{"a.t": ""}}}
		due, err := v.begin(t.Context(), w, "db1", told{history: history}, told{})
		if err != nil || !due || w.rec.Began.Equal(began) != goesOn ||
			w.rec.Tables["a.t"].Proved.IsZero() == goesOn || w.rec.History != history {
			t.Errorf("%s: %t, %v, %+v", history, due, err, w.rec)
		}
		w.primary = told{}
		if err := v.settle(t.Context(), told{history: "one"}, w); err != nil ||
			(w.rec.History != "") != goesOn || w.rec.Ended.IsZero() == goesOn {
			t.Errorf("%s at its end: %v, %+v", history, err, w.rec)
		}
		if due, err := v.begin(t.Context(), w, "db1", told{history: "one"}, told{}); err != nil ||
			due == goesOn {
			t.Errorf("%s: whether the next one begins is %t, %v", history, due, err)
		}
	}
}

// TestARoundHasWhatTookTheNameOfAProvedTable, whose own turn was not yet.
func TestARoundHasWhatTookTheNameOfAProvedTable(t *testing.T) {
	t.Parallel()
	v, primary, rec := New(Config{}), filled(10), &Record{}
	primary.listed = []kit.Table{{Name: "a.t", Created: "1"}, {Name: "a.u", Created: "2"}}
	rec.begin(time.Now(), "db1", "", primary.listed)
	w := &work{primary: primary, replica: filled(10), rec: rec, now: time.Now,
		pending: primary.listed[:1]}
	compare := func() {
		t.Helper()
		for len(w.pending) > 0 {
			w.used = 0
			if err := w.run(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.end(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	primary.listed = []kit.Table{{Name: "a.t", Created: "2"}}
	rec.Table, rec.Tables["a.u"] = "a.u", Proof{Unfit: "it is gone"}
	compare()
	if len(w.pending) != 1 || !rec.Ended.IsZero() || !rec.Tables["a.t"].Proved.IsZero() {
		t.Errorf("the round has ended: %+v", rec)
	}
	if compare(); rec.Ended.IsZero() || !rec.provedSince(rec.Began.Add(-time.Second)) {
		t.Errorf("compared: %+v", rec)
	}
	primary.listed = []kit.Table{{Name: "a.t", Created: "3"}}
	if compare(); rec.provedSince(rec.Began.Add(-time.Second)) {
		t.Errorf("renamed again: %+v", rec)
	}
}

// TestTableThatCannotBeReadIsNotProved has a primary whose table is crashed.
func TestTableThatCannotBeReadIsNotProved(t *testing.T) {
	t.Parallel()
	primary, replica := filled(10), filled(10)
	primary.busy = "Error 1194: Table 't' is marked as crashed"
	rec := &Record{}
	rec.begin(time.Now(), "db1", "", []kit.Table{{Name: "a.t"}})
	w := &work{primary: primary, replica: replica, rec: rec, pending: []kit.Table{{Name: "a.t"}},
		now: time.Now}
	for range mostBusy {
		_ = w.run(t.Context(), time.Second) // that it is busy, until the round leaves it out
	}
	rec.Ended = time.Now()
	if p := rec.Tables["a.t"]; len(w.pending) > 0 || !p.Skipped || rec.provedSince(time.Time{}) {
		t.Errorf("%+v", p)
	}
}

// TestSumsOfTwoHashesAreNotCompared: they would differ, or worse.
func TestSumsOfTwoHashesAreNotCompared(t *testing.T) {
	t.Parallel()
	primary, replica, rec := filled(3), filled(3), &Record{}
	replica.hash = 1
	tables, _ := primary.Tables(t.Context())
	rec.begin(time.Now(), "db1", "", tables)
	w := &work{primary: primary, replica: replica, rec: rec, pending: tables, now: time.Now}
	err := w.run(t.Context(), time.Second)
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_UNIMPLEMENTED ||
		!rec.Tables["a.t"].Proved.IsZero() || rec.Pass.Different != nil {
		t.Errorf("%v, %+v", err, rec)
	}
}
