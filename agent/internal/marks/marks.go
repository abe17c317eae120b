// Package marks notes what happened to this host's replication that may have left changes out, so
// that it is known also when nobody looked: docs/verification.md#marks.
package marks

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/loop"
)

const (
	// most is how many marks are kept; one more drops the oldest one.
	most = 16
	// renewEvery is the shortest time between two numbers of one mark.
	renewEvery = 10 * time.Second
	// lateLog is how much later than a sample a line of the log may come.
	lateLog = 30 * time.Second
	// followAgain is the pause before a log is followed again that could not be.
	followAgain = 5 * time.Second
	// unreadAfter is how long the log may not be followed before that is told.
	unreadAfter = time.Minute
	// settleEvery is how soon it is looked what a crash may have torn, which is unread until then.
	settleEvery = time.Second
	// settleLimit is how long one look for what a crash may have torn may take.
	settleLimit = time.Minute
)

// Mark is one thing that may have left changes out. There is one of a kind: it gets the next number
// each time.
type Mark struct {
	Number int64     `json:"number"`
	Kind   string    `json:"kind"`
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
}

// LostRows is true when it may have cost this host rows that its replicas have.
func (m Mark) LostRows() bool { return m.Kind == crash }

// Record are the marks since this host's data was copied. Its numbers grow as long as its ID is the
// same one, also beyond the marks that were dropped.
type Record struct {
	ID    string `json:"id"`
	Last  int64  `json:"last"`
	Marks []Mark `json:"marks,omitempty"` // the oldest first
	// Unread is why not all is noted that MariaDB's log tells of; empty when it is.
	Unread string `json:"-"`
	// UnreadSince is when that began.
	UnreadSince time.Time `json:"-"`
}

// Sample is what a sample of MariaDB has about its replication.
type Sample struct {
	// Losses are what leaves changes out, by kind; nil when MariaDB does not answer.
	Losses map[string]string
	// Follows is true when there is a connection without a name; Errno is the latest error of its
	// SQL thread, 0 without one.
	Follows bool
	Errno   int
	// Thread is the number of the SQL thread; empty when it does not run, or is not known.
	Thread string
	// Run is the run of the unit that answers; empty when that is not known.
	Run string
}

// kept is what outlives the agent.
type kept struct {
	Record
	// Waiting are the texts of marks that get a number once they may, by kind.
	Waiting map[string]string `json:"waiting,omitempty"`
	// Cursor is the line of MariaDB's log up to which it was read, Thread what it said.
	Cursor string `json:"cursor,omitempty"`
	Thread thread `json:"thread"`
	// Begun is when the copy began, from which on the log is read; zero when it was not noted.
	Begun time.Time `json:"begun,omitzero"`
	// Run is the run of MariaDB that the log is of, Before the one before it.
	Run    run `json:"run,omitzero"`
	Before run `json:"before,omitzero"`
	// Crashed is a run that crashed, until it is known what it may have torn; Recovered is the
	// latest run that recovered from a crash.
	Crashed   *crashed `json:"crashed,omitempty"`
	Recovered string   `json:"recovered,omitempty"`
	// Unlogged is when an SQL thread was found that the log should have; zero for none.
	Unlogged time.Time `json:"unlogged,omitzero"`
}

// Config is what a Keeper needs; File, Follow and Log are required.
type Config struct {
	File string
	// Written names the tables without transactions that were written to since a time; an error
	// while that is not known. nil: crashes are no marks.
	Written func(ctx context.Context, since time.Time) ([]string, error)
	// Follow hands over the lines of MariaDB's log as they come, until ctx ends or each fails.
	Follow func(ctx context.Context, from systemd.From, each func(systemd.Entry) error) error
	Log    *slog.Logger
}

// Keeper keeps the record of this host. It is safe for concurrent use.
type Keeper struct {
	cfg Config

	mu      sync.Mutex
	loaded  bool
	kept    kept
	dirty   bool                 // the file is older, and has to be written at once
	moved   bool                 // the file is older; its place in the log can be read again
	ongoing map[string]string    // what the latest sample had, by kind
	at      map[string]time.Time // of the latest number, by kind, on the monotonic clock
	other   string               // the SQL thread that runs, which the log does not have
	otherAt time.Time            // when it was first seen
	ahead   time.Time            // since when a run answers that was not read of; or zero
	begun   int                  // how often a copy began
	again   context.CancelFunc   // follows the log again
	follows time.Time            // since when the log is followed; zero when it is not
	failing time.Time            // since when it cannot be followed; zero when it can
	failure error                // why
}

// New makes a keeper; it reads its file when it is first used.
func New(cfg Config) *Keeper {
	return &Keeper{cfg: cfg, ongoing: map[string]string{}, at: map[string]time.Time{},
		again: func() {}}
}

// Run reads MariaDB's log until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	var settles sync.WaitGroup
	defer settles.Wait()
	settles.Go(func() { k.settleCrashes(ctx) })
	for ctx.Err() == nil {
		if err := k.follow(ctx); err != nil && ctx.Err() == nil {
			k.fails(err)
			_ = loop.Pause(ctx, followAgain)
		}
	}
}

// fails notes that the log cannot be followed; the first time in a row is logged.
func (k *Keeper) fails(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing.IsZero() {
		k.cfg.Log.Warn("cannot follow the log of MariaDB", "error", err)
		k.failing = time.Now()
	}
	k.failure = err
}

var errBegun = errors.New("another copy has begun")

func (k *Keeper) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.mu.Lock()
	err := k.load()
	from, begun := systemd.From{Cursor: k.kept.Cursor, Since: k.kept.Begun}, k.begun
	k.again, k.follows = cancel, time.Now()
	k.mu.Unlock()
	if err != nil {
		return err
	}
	err = k.cfg.Follow(ctx, from, func(e systemd.Entry) error { return k.take(e, begun) })
	k.mu.Lock()
	defer k.mu.Unlock()
	k.follows = time.Time{}
	if k.begun != begun {
		return nil
	}
	return cmp.Or(err, errors.New("it ended"))
}

// take is a line of the log, read since a copy began.
func (k *Keeper) take(e systemd.Entry, begun int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.begun != begun {
		return errBegun
	}
	k.failing = time.Time{}
	first := k.kept.Cursor == ""
	k.kept.Cursor, k.moved = e.Cursor, true
	k.dirty = k.dirty || first
	said, relevant := parse(e)
	k.ran(e)
	ofCopy := !first || !k.kept.Begun.IsZero() // else it may be of before the copy began
	if ofCopy {
		k.recovered(e)
	}
	if relevant && ofCopy {
		k.noteAll(k.kept.Thread.take(said), false)
		if k.kept.Thread.State != 0 {
			k.kept.Unlogged = time.Time{}
		}
	}
	k.save()
	return nil
}

// Observe takes a sample of MariaDB. It answers with the record.
func (k *Keeper) Observe(s Sample) Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(); err != nil {
		k.cfg.Log.Warn("cannot read what was noted of replication", "error", err)
		if k.failing.IsZero() {
			k.failing = time.Now()
		}
		return Record{Unread: err.Error(), UnreadSince: k.failing}
	}
	if s.Losses != nil {
		over := maps.Clone(k.ongoing)
		for kind, text := range s.Losses {
			if k.ongoing[kind] != text {
				k.note(kind, text, true)
			}
			delete(over, kind)
		}
		k.noteAll(over, true) // it was there until now
		k.ongoing = maps.Clone(s.Losses)
	}
	k.noteAll(k.kept.Thread.sampled(s), false)
	k.compare(s.Thread)
	switch {
	case s.Run == "" || k.kept.Run.ID == "" || s.Run == k.kept.Run.ID:
		k.ahead = time.Time{}
	case k.ahead.IsZero():
		k.ahead = time.Now().UTC()
	}
	k.dirty = k.dirty || k.moved
	k.save()
	record := k.kept.Record
	record.Marks = slices.Clone(record.Marks)
	record.Unread, record.UnreadSince = k.unread()
	return record
}

// unread is why not all is noted that MariaDB's log tells of, and since when; empty when it is.
func (k *Keeper) unread() (string, time.Time) {
	if !k.follows.IsZero() && time.Since(k.follows) >= lateLog {
		k.failing = time.Time{} // it has nothing to say
	}
	switch {
	case !k.failing.IsZero() && time.Since(k.failing) >= unreadAfter:
		return fmt.Sprintf("the journal of %s cannot be followed: %v", mariadb.Unit, k.failure),
			k.failing
	case !k.ahead.IsZero():
		return "the journal of " + mariadb.Unit + " is not read up to the run that answers, " +
			"which may have recovered from a crash", k.ahead
	case k.kept.Crashed != nil:
		return "MariaDB crashed, and it is not known yet to which tables without transactions it " +
			"had written", k.kept.Crashed.Told
	case !k.kept.Unlogged.IsZero():
		return "the journal of " + mariadb.Unit + " does not have the start of the SQL thread " +
			"that runs (log_error, log_warnings)", k.kept.Unlogged
	}
	return "", time.Time{}
}

// compare notes an SQL thread that runs and that the log does not have, although it had the one
// before: MariaDB does not log all any more. One that started before the log was read is known
// from then on.
func (k *Keeper) compare(running string) {
	logged := &k.kept.Thread
	switch {
	case running == "" || logged.State != stopped && logged.ID == running:
		k.other = ""
	case k.other != running:
		k.other, k.otherAt = running, time.Now()
	case time.Since(k.otherAt) >= lateLog:
		if logged.State != 0 {
			k.note("start", "where its SQL thread started that runs now is not in the journal of "+
				mariadb.Unit+" (log_error, log_warnings)", false)
		}
		if logged.State != 0 || logged.ID != "" || !k.kept.Begun.IsZero() {
			k.kept.Unlogged = time.Now().UTC()
		}
		*logged, k.other, k.dirty = thread{ID: running}, "", true
	}
}

// Begin forgets the marks: the data is a copy that begins to follow its primary. The numbers go on.
func (k *Keeper) Begin() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(); err != nil {
		return err
	}
	k.begun++
	k.again()
	k.kept = kept{Record: Record{ID: k.kept.ID, Last: k.kept.Last}, Begun: time.Now().UTC()}
	clear(k.ongoing)
	k.other, k.ahead = "", time.Time{}
	return atomicfile.WriteJSON(k.cfg.File, k.kept)
}

// load reads what an earlier agent kept. What is torn is lost, like what is gone: another id says
// so.
func (k *Keeper) load() error {
	if k.loaded {
		return nil
	}
	_, err := atomicfile.ReadJSON(k.cfg.File, &k.kept)
	if unreadable := (*fs.PathError)(nil); errors.As(err, &unreadable) {
		return err
	}
	if err != nil {
		k.cfg.Log.Warn("what was noted of replication is torn", "error", err)
		k.kept = kept{}
	}
	if k.kept.ID == "" {
		k.kept.ID, k.dirty = rand.Text(), true
	}
	k.loaded = true
	return nil
}

// save numbers what waits, and writes what changed. A record that cannot be written counts: who
// knows later numbers than it has after a restart takes it for an older one.
func (k *Keeper) save() {
	for _, kind := range slices.Sorted(maps.Keys(k.kept.Waiting)) {
		k.note(kind, k.kept.Waiting[kind], false)
	}
	if !k.dirty {
		return
	}
	if err := atomicfile.WriteJSON(k.cfg.File, k.kept); err != nil {
		k.cfg.Log.Warn("cannot keep what was noted of replication", "error", err)
		return
	}
	k.dirty, k.moved = false, false
}

func (k *Keeper) noteAll(found map[string]string, atOnce bool) {
	for _, kind := range slices.Sorted(maps.Keys(found)) {
		k.note(kind, found[kind], atOnce)
	}
}

// note gives a mark the next number: at once, or no sooner than renewEvery after its latest one,
// for a log may have thousands of lines a second. What waits for that outlives the agent.
func (k *Keeper) note(kind, text string, atOnce bool) {
	if at, there := k.at[kind]; there && !atOnce && time.Since(at) < renewEvery {
		if _, waits := k.kept.Waiting[kind]; !waits {
			k.dirty = true
		}
		if k.kept.Waiting == nil {
			k.kept.Waiting = map[string]string{}
		}
		k.kept.Waiting[kind] = text
		return
	}
	delete(k.kept.Waiting, kind)
	k.kept.Last++
	k.at[kind], k.dirty = time.Now(), true
	k.kept.Marks = slices.DeleteFunc(slices.Clone(k.kept.Marks),
		func(m Mark) bool { return m.Kind == kind })
	k.kept.Marks = append(k.kept.Marks, Mark{Number: k.kept.Last, Kind: kind, Text: text,
		At: k.at[kind].UTC()})
	k.kept.Marks = k.kept.Marks[max(0, len(k.kept.Marks)-most):]
	k.cfg.Log.Warn("changes may have been left out", "kind", kind, "text", text)
}
