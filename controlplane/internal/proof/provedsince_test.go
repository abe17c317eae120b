package proof

import (
	"testing"
	"time"

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

// TestARoundHasWhatTookTheNameOfAProvedTable, whose own turn was not yet.
func TestARoundHasWhatTookTheNameOfAProvedTable(t *testing.T) {
	t.Parallel()
	v, primary, rec := New(Config{}), filled(10), &Record{}
	primary.listed = []kit.Table{{Name: "a.t", Created: "1"}, {Name: "a.u", Created: "2"}}
	rec.begin(time.Now(), "db1", primary.listed)
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
	rec.begin(time.Now(), "db1", []kit.Table{{Name: "a.t"}})
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
	rec.begin(time.Now(), "db1", tables)
	w := &work{primary: primary, replica: replica, rec: rec, pending: tables, now: time.Now}
	err := w.run(t.Context(), time.Second)
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_UNIMPLEMENTED ||
		!rec.Tables["a.t"].Proved.IsZero() || rec.Pass.Different != nil {
		t.Errorf("%v, %+v", err, rec)
	}
}
