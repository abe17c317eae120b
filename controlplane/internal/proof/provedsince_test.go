package proof

import (
	"testing"
	"time"
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
		"":                  func(*Record) {},
		"it began before":   func(r *Record) { r.Began = since.Add(-time.Second) },
		"it goes on":        func(r *Record) { r.Ended = time.Time{} },
		"an object differs": func(r *Record) { r.Objects = []string{"view a.v"} },
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
