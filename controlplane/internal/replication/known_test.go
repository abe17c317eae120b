package replication_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

func read(file string, offset int64, received string) replication.Connection {
	return replication.Connection{ReadFile: file, ReadOffset: offset, ReceivedPos: received,
		UsingGTID: "Slave_Pos"}
}

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestWhatReplicasHaveReadOfAHistory(t *testing.T) {
	t.Parallel()
	k := replication.Known{Claim: replication.Claim{ID: "one", File: "b.000002", Offset: 9},
		Seen: "0-1-20"}
	refused := read("b.000002", 9, "0-1-15")
	refused.IOErrno = 1236
	for i, step := range []struct {
		history, replica string
		c                replication.Connection
		news             bool
		want             string // of that replica
	}{
		{"one", "db2", read("b.000001", 10, "0-1-5"), true, "b.000001:10 0-1-5"},
		{"one", "db2", read("b.000001", 10, "0-1-5"), false, "b.000001:10 0-1-5"},
		// A connection that begins again reads again.
		{"one", "db2", read("b.000001", 4, ""), false, "b.000001:10 0-1-5"},
		{"one", "db2", read("b.000002", 4, "0-1-9"), true, "b.000001:10 0-1-5, b.000002:4 0-1-9"},
		{"one", "db2", refused, false, "b.000001:10 0-1-5, b.000002:4 0-1-9"},
		// What it has from elsewhere the primary need not have.
		{"one", "db3", read("b.000002", 7, "0-1-9,7-3-3"), true, "b.000002:7 0-1-9"},
		{"one", "db3", read("b.000002", 8, "no position"), true, "b.000002:8 0-1-9"},
		{"two", "db4", read("b.000002", 7, "0-1-9"), false, ""},
		{"one", "db4", read("", 0, "0-1-9"), false, ""},
		{"one", "db4", replication.Connection{ReadFile: "b.000001", UsingGTID: "No"}, false, ""},
	} {
		news := k.HasRead(step.history, step.replica, step.c, begin.Add(time.Duration(i)*time.Hour))
		if got := said(k, step.replica); news != step.news || got != step.want {
			t.Errorf("step %d: news %t, %q, want %q", i, news, got, step.want)
		}
	}
	if first := k.Reads[0]; !first.Seen.Equal(begin) {
		t.Errorf("b.000001 was first read at %s", first.Seen)
	}
	if k.Beyond() {
		t.Error("nobody reads a later log than the claim is in")
	}
	then := k
	then.Reads = slices.Clone(k.Reads)
	k.HasRead("one", "db2", read("b.000003", 4, "0-1-10"), begin)
	if !k.Beyond() {
		t.Error("db2 reads a later log than the claim is in")
	}
	k.Confirmed(then)
	if got := said(k, "db2") + "; " + said(k, "db3"); got !=
		"b.000003:4 0-1-10; b.000002:8 0-1-9" {
		t.Errorf("kept %q", got)
	}
}

func said(k replication.Known, replica string) (text string) {
	for _, r := range k.Reads {
		if r.Replica == replica {
			text += fmt.Sprintf(", %s:%d %s", r.File, r.Offset, r.GTID)
		}
	}
	if text != "" {
		text = text[2:]
	}
	return text
}

// TestWhatIsKnownHasAnEnd has agents that tell of ever more logs.
func TestWhatIsKnownHasAnEnd(t *testing.T) {
	t.Parallel()
	k := replication.Known{Claim: replication.Claim{ID: "one"}, Seen: "0-1-20"}
	for r := range 100 {
		for i := range 20 {
			c := read(fmt.Sprintf("b.%06d", i), 4, "0-1-5")
			k.HasRead("one", fmt.Sprint("db", r), c, begin)
		}
	}
	last := replication.Read{Replica: "db99", File: "b.000019", Offset: 4, GTID: "0-1-5",
		Seen: begin}
	if len(k.Reads) != 1000 || k.Reads[999] != last || k.Reads[999-15].Replica != "db99" ||
		k.Reads[999-16].Replica == "db99" {
		t.Errorf("%d reads, the last %+v", len(k.Reads), k.Reads[len(k.Reads)-1])
	}
}

func TestPlacesOfClaims(t *testing.T) {
	t.Parallel()
	at := func(file string, offset int64) replication.Claim {
		return replication.Claim{File: file, Offset: offset}
	}
	ordered := []replication.Claim{at("b.000001", 9), at("b.000002", 4), at("b.000002", 5),
		at("b.999999", 4), at("b.1000000", 4)}
	for i, a := range ordered {
		for j, b := range ordered {
			if a.Before(b) != (i < j) {
				t.Errorf("%+v before %+v: %t", a, b, a.Before(b))
			}
		}
	}
}

// TestWhatIsKnownAfterARestore is old: what replicas tell counts in any case.
func TestWhatIsKnownAfterARestore(t *testing.T) {
	t.Parallel()
	refused := read("b.000003", 4, "0-1-20")
	refused.IOErrno = 1236
	for _, restored := range []bool{false, true} {
		k := replication.Known{Claim: replication.Claim{ID: "one"}, Seen: "0-1-5",
			Restored: restored}
		if k.HasRead("one", "db2", refused, begin) != restored {
			t.Errorf("restored %t: a position that the primary refuses", restored)
		}
		if known := k.ForNone().Claim.ID != ""; known == restored {
			t.Errorf("restored %t: told to an agent without a history: %t", restored, known)
		}
		k.Confirmed(replication.Known{Claim: replication.Claim{ID: "two"}})
		if k.Restored != restored {
			t.Error("confirmed by another history")
		}
		k.Confirmed(k)
		if k.Restored {
			t.Error("confirmed, and not known yet")
		}
	}
}
