package mariadb

import (
	little "encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/proto/gtid"
)

// logged are the binary logs of a server: a.000002 to a.000004, which is the current one.
func (f *follow) logged(sizes ...int) readableLog {
	f.t.Helper()
	log := readableLog{dir: f.dir, end: position(f.t, "0-1-40")}
	for i, size := range sizes {
		name := fmt.Sprintf("a.%06d", i+2)
		f.write(name, strings.Repeat(fmt.Sprint(i), size))
		log.logs = append(log.logs, Binlog{File: name, SizeBytes: int64(size)})
	}
	log.at = func(file string, offset int64) (gtid.Position, error) {
		known := map[string]string{"a.000002:4": "0-1-10", "a.000003:4": "0-1-20",
			"a.000004:4": "0-1-30", "a.000003:50": "0-1-25"}
		at, ok := known[fmt.Sprintf("%s:%d", file, offset)]
		if !ok {
			return gtid.Position{}, errors.New("nobody knows " + file)
		}
		return position(f.t, at), nil
	}
	return log
}

func position(t *testing.T, text string) gtid.Position {
	t.Helper()
	p, err := gtid.ParsePosition(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestWhatALogLacksOfWhatReplicasRead has a tail that was lost, whatever was written since: a log
// that is not the last one does not grow.
func TestWhatALogLacksOfWhatReplicasRead(t *testing.T) {
	t.Parallel()
	log := newFollow(t).logged(100, 60, 80)
	for name, test := range map[string]struct {
		read  ReadPlace
		lacks string
	}{
		"the last log":          {ReadPlace{File: "a.000004", Offset: 80, Gtid: "0-1-40"}, ""},
		"to the end":            {ReadPlace{File: "a.000003", Offset: 60, Gtid: "0-1-30"}, ""},
		"purged":                {ReadPlace{File: "a.000001", Offset: 999, Gtid: "0-1-10"}, ""},
		"nothing yet":           {ReadPlace{File: "a.000004"}, ""},
		"past the end":          {ReadPlace{File: "a.000003", Offset: 61}, "it ends at 60"},
		"past the last end":     {ReadPlace{File: "a.000004", Offset: 81}, "it ends at 80"},
		"more, by number":       {ReadPlace{File: "a.000003", Gtid: "0-1-31"}, "ends at 0-1-30"},
		"more than there is":    {ReadPlace{File: "a.000004", Gtid: "0-1-41"}, "ends at 0-1-40"},
		"more than was purged":  {ReadPlace{File: "a.000001", Gtid: "0-1-11"}, "ends at 0-1-10"},
		"another server's":      {ReadPlace{File: "a.000003", Gtid: "0-2-30"}, "ends at 0-1-30"},
		"a later log":           {ReadPlace{File: "a.000005", Offset: 4}, "does not have"},
		"a log of another name": {ReadPlace{File: "b.000001", Offset: 4}, "does not have"},
		"ahead in one domain, back for another": {ReadPlace{File: "a.000003",
			Gtid: "0-1-31,1-1-7"}, "1-1-7"},
	} {
		test.read.Replica = "db2"
		lacks, err := log.lacksRead(test.read)
		if err != nil || (lacks == "") != (test.lacks == "") ||
			!strings.Contains(lacks, test.lacks) {
			t.Errorf("%s: lacks %q %v, want %q", name, lacks, err, test.lacks)
		}
	}
	// In two domains, the replica may have gone back to a log for one of them.
	log.end = position(t, "0-1-40,1-1-7")
	for _, had := range []string{"0-1-31,1-1-7", "0-1-31"} {
		if lacks, err := log.lacksRead(ReadPlace{File: "a.000003",
			Gtid: had}); err != nil || lacks != "" {
			t.Errorf("%s: lacks %q %v", had, lacks, err)
		}
	}
}

// TestALogOfTheSameNameThatWasBegunAgain has an older datadir begin the log again that the replica
// had read.
func TestALogOfTheSameNameThatWasBegunAgain(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		seenAgo, begunAgo time.Duration
		again             bool
	}{
		"begun before it was read":  {time.Minute, time.Hour, false},
		"read at once":              {time.Minute, time.Minute, false},
		"begun again":               {time.Minute, 58 * time.Second, true},
		"nobody knows when":         {0, time.Second, false},
		"two clocks drift in a day": {24 * time.Hour, 24*time.Hour - time.Minute, false},
		"begun again after a day":   {24 * time.Hour, 23 * time.Hour, true},
		"the clock was set back":    {time.Minute, -time.Hour, false},
	} {
		f := newFollow(t)
		log := f.logged(100, 60, 80)
		log.begun = func(string) (time.Time, error) { return now.Add(-test.begunAgo), nil }
		lacks, err := log.begunLater(ReadPlace{Replica: "db2", File: "a.000004",
			SeenAgo: test.seenAgo}, now)
		if err != nil || (lacks != "") != test.again {
			t.Errorf("%s: lacks %q %v", name, lacks, err)
		}
	}
	// What is before events that are proved needs no proof of its own.
	f := newFollow(t)
	log := f.logged(100, 60, 80)
	asked := 0
	log.begun = func(string) (time.Time, error) {
		asked++
		return time.Now().Add(-time.Second), nil
	}
	known := KnownHistory{Claim: f.claimed(), Reads: []ReadPlace{
		{Replica: "db2", File: "a.000003", SeenAgo: time.Hour}}}
	if lacks, err := log.lacks(known, true); err != nil || lacks != "" || asked != 0 {
		t.Errorf("lacks %q %v, asked %d times", lacks, err, asked)
	}
	known.Reads[0].File = "a.000004"
	if lacks, err := log.lacks(known, true); err != nil ||
		!strings.Contains(lacks, "begun again") {
		t.Errorf("lacks %q %v", lacks, err)
	}
}

// TestTheTimeAtWhichALogWasBegun takes no time from a session that says another one.
func TestTheTimeAtWhichALogWasBegun(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct{ header, least, most time.Time }{
		"the header": {now.Add(-time.Hour), now.Add(-time.Hour - time.Second),
			now.Add(-time.Hour)},
		"a session of the future": {now.Add(time.Hour), now.Add(-time.Minute),
			now.Add(time.Minute)},
	} {
		dir, head := t.TempDir(), []byte("\xfebin")
		head = little.LittleEndian.AppendUint32(head, uint32(test.header.Unix()))
		if err := os.WriteFile(filepath.Join(dir, "a.000001"), head, 0o600); err != nil {
			t.Fatal(err)
		}
		begun, err := begunAt(dir, "a.000001")
		if err != nil || begun.Before(test.least) || begun.After(test.most) {
			t.Errorf("%s: begun at %s %v", name, begun, err)
		}
	}
}

// claimed is a claim that the log of logged holds.
func (f *follow) claimed() HistoryClaim {
	f.t.Helper()
	place := logPlace{"a.000003", 50, "0-1-25"}
	digest, err := digestBefore(f.dir, place)
	if err != nil {
		f.t.Fatal(err)
	}
	return HistoryClaim{ID: "one", File: place.File, Offset: place.Offset, Gtid: place.Gtid,
		Digest: digest}
}

func TestWhatALogLacksOfAClaim(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change      func(f *follow, l *readableLog, c *HistoryClaim)
		lacks, less string // to an agent without a history, and to one that has it
	}{
		"nothing": {func(*follow, *readableLog, *HistoryClaim) {}, "", ""},
		"the claim": {func(_ *follow, _ *readableLog, c *HistoryClaim) { *c = HistoryClaim{} },
			"no history of it is on record", "no history of it is on record"},
		"events": {func(f *follow, _ *readableLog, _ *HistoryClaim) {
			f.write("a.000003", strings.Repeat("z", 60))
		}, "has other events", "has other events"},
		"the tail": {func(f *follow, _ *readableLog, _ *HistoryClaim) {
			f.write("a.000003", strings.Repeat("1", 49))
		}, "is shorter", "is shorter"},
		"the file, purged": {func(f *follow, l *readableLog, c *HistoryClaim) {
			c.File, c.Gtid = "a.000001", "0-1-10"
		}, "has no a.000001 any more", ""},
		"the file": {func(f *follow, _ *readableLog, c *HistoryClaim) { c.File = "a.000009" },
			"has no a.000009 any more", "has no a.000009 any more"},
		"the position": {func(_ *follow, _ *readableLog, c *HistoryClaim) { c.Gtid = "0-1-26" },
			"is at 0-1-25 at offset 50", ""},
	} {
		f := newFollow(t)
		log := f.logged(100, 60, 80)
		claim := f.claimed()
		test.change(f, &log, &claim)
		for all, want := range map[bool]string{true: test.lacks, false: test.less} {
			lacks, err := log.lacksClaim(claim, all)
			if err != nil || (lacks == "") != (want == "") || !strings.Contains(lacks, want) {
				t.Errorf("%s, all %t: lacks %q %v, want %q", name, all, lacks, err, want)
			}
		}
	}
	log := newFollow(t).logged(100)
	for seen, want := range map[string]bool{"": true, "0-1-40": true, "0-1-41": false} {
		if lacks, err := log.lacksSeen(seen); err != nil || (lacks == "") != want {
			t.Errorf("seen %q: lacks %q %v", seen, lacks, err)
		}
	}
}

// TestALostHistoryIsTakenUpOrGivenUp has an agent without a state: it tells no history until it was
// told what is known, and keeps what it was told.
func TestALostHistoryIsTakenUpOrGivenUp(t *testing.T) {
	t.Parallel()
	for _, holds := range []bool{true, false} {
		f := newFollow(t)
		f.logged(100, 60, 80)
		f.restart() // with nothing that lets it begin
		list := logList{[]string{"a.000002", "a.000003", "a.000004"}, "0-1-10"}
		look := func() string { f.t.Helper(); return f.look("a.000004", 80, "0-1-40", list) }
		if id := look(); id != "" {
			t.Fatalf("history %s without a state", id)
		}
		why := map[bool]string{true: "", false: "db2 has read more"}[holds]
		if err := f.h.settle("", f.claimed(), why); err != nil {
			t.Fatal(err)
		}
		id := look()
		if (id == "one") != holds || id == "" || f.h.known().Reason != why {
			t.Errorf("holds %t: history %q, because of %q", holds, id, f.h.known().Reason)
		}
		f.restart()
		if again := look(); again != id || f.h.known().Reason != why {
			t.Errorf("after a restart: %q, it was %q", again, id)
		}
		if err := os.RemoveAll(filepath.Dir(f.state)); err != nil {
			t.Fatal(err)
		}
		if err := f.h.settle(id, HistoryClaim{}, "a tail was lost"); err != nil {
			t.Fatal(err)
		}
		if other := look(); other == "" || other == id {
			t.Errorf("history %q after a tail of it was lost", other)
		}
		// What was found out of another history is nothing to this one.
		now := f.h.known()
		if err := f.h.settle("gone", HistoryClaim{}, "no"); err != nil || f.h.known() != now {
			t.Errorf("%v %+v", err, f.h.known())
		}
	}
}

// TestAPurgeMeanwhileProvesNothing has a log that is purged between the list and the look into it.
func TestAPurgeMeanwhileProvesNothing(t *testing.T) {
	t.Parallel()
	f := newFollow(t)
	log := f.logged(100, 60, 80)
	list := logList{[]string{"a.000002", "a.000003", "a.000004"}, "0-1-10"}
	id := f.look("a.000003", 50, "0-1-25", list)
	claim := f.claimed()
	claim.ID = id
	if err := os.Remove(filepath.Join(f.dir, "a.000003")); err != nil {
		t.Fatal(err)
	}
	known := KnownHistory{Claim: claim}
	if _, err := f.h.confirm(log, known); !errors.Is(err, errPurging) || f.h.known().ID != id {
		t.Errorf("confirmed as %s, not %s: %v", f.h.known().ID, id, err)
	}
	at := logPlace{"a.000004", 80, "0-1-40"}
	if got, err := f.h.observe(f.dir, at, list); !errors.Is(err, errPurging) || got != "" {
		t.Errorf("%s: %v", got, err)
	}
	if got := f.look("a.000004", 80, "0-1-40", logList{list.files[2:], "0-1-30"}); got != id {
		t.Errorf("%s became %s by a purge", id, got)
	}
	// A file that is listed still, and gone still, was not purged.
	if err := os.Remove(filepath.Join(f.dir, "a.000004")); err != nil {
		t.Fatal(err)
	}
	f.write("a.000005", "the next")
	list.files = append(list.files, "a.000005")
	at = logPlace{"a.000005", 8, "0-1-41"}
	if got, err := f.h.observe(f.dir, at, list); !errors.Is(err, errPurging) || got != "" {
		t.Errorf("%s: %v", got, err)
	}
	if got := f.look("a.000005", 8, "0-1-41", list); got == "" || got == id ||
		f.h.known().Reason != "a.000003 is listed, and not there" {
		t.Errorf("%s became %q without its log: %s", id, got, f.h.known().Reason)
	}
	if p, err := positionIn(row{}, "a.000003", 50); err == nil {
		t.Errorf("at %s", p)
	}
	if p, err := positionIn(row{"pos": ""}, "a.000003", 4); err != nil || !p.IsEmpty() {
		t.Errorf("at %s: %v", p, err)
	}
}
