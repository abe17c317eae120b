// Package marks notes what happened to this host's replication that may have left changes out, so
// that it is known also when nobody looked: docs/verification.md#marks.
package marks

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/atomicfile"
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
)

// Mark is one thing that may have left changes out. There is one of a kind: it gets the next number
// each time.
type Mark struct {
	Number int64     `json:"number"`
	Kind   string    `json:"kind"`
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
}

// Record are the marks since this host's data was copied. Its numbers grow as long as its ID is the
// same one, also beyond the marks that were dropped.
type Record struct {
	ID    string `json:"id"`
	Last  int64  `json:"last"`
	Marks []Mark `json:"marks,omitempty"` // the oldest first
}

// kept is what outlives the agent.
type kept struct {
	Record
	// Cursor is the line of MariaDB's log up to which it was read, Thread what it said.
	Cursor string `json:"cursor,omitempty"`
	Thread thread `json:"thread"`
}

// Config is what a Keeper needs; all of it is required.
type Config struct {
	File string
	// Follow hands over the lines of MariaDB's log behind a cursor as they come, or the last one
	// and those to come without a cursor, until ctx ends or each fails.
	Follow func(ctx context.Context, cursor string, each func(systemd.Entry) error) error
	Log    *slog.Logger
}

// Keeper keeps the record of this host. It is safe for concurrent use.
type Keeper struct {
	cfg Config

	mu      sync.Mutex
	loaded  bool
	kept    kept
	dirty   bool                 // the file is older
	ongoing map[string]string    // what the latest sample had, by kind
	waiting map[string]string    // what gets a number once it may, by kind
	at      map[string]time.Time // of the latest number, by kind, on the monotonic clock
	other   string               // the SQL thread that runs, which the log does not have
	otherAt time.Time            // when it was first seen
	begun   int                  // how often a copy began
	again   context.CancelFunc   // follows the log again
}

// New makes a keeper; it reads its file when it is first used.
func New(cfg Config) *Keeper {
	return &Keeper{cfg: cfg, ongoing: map[string]string{}, waiting: map[string]string{},
		at: map[string]time.Time{}, again: func() {}}
}

// Run reads MariaDB's log until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := k.follow(ctx); err != nil && ctx.Err() == nil {
			k.cfg.Log.Debug("cannot follow the log of MariaDB", "error", err)
			pause := time.NewTimer(followAgain)
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
		}
	}
}

var errBegun = errors.New("another copy has begun")

func (k *Keeper) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.mu.Lock()
	err := k.load()
	cursor, begun := k.kept.Cursor, k.begun
	k.again = cancel
	k.mu.Unlock()
	if err != nil {
		return err
	}
	err = k.cfg.Follow(ctx, cursor, func(e systemd.Entry) error { return k.take(e, begun) })
	k.mu.Lock()
	defer k.mu.Unlock()
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
	first := k.kept.Cursor == ""
	k.kept.Cursor = e.Cursor
	k.dirty = k.dirty || first
	said, relevant := parse(e.Message)
	if first || !relevant { // the first one may be of before the copy began
		k.save()
		return nil
	}
	k.dirty = true
	for kind, text := range k.kept.Thread.take(said) {
		k.note(kind, text, false)
	}
	k.save()
	return nil
}

// Observe takes what a sample of MariaDB has that leaves changes out, by kind, nil when it does not
// answer, and the number of its SQL thread, empty when that is not known. It answers with the
// record.
func (k *Keeper) Observe(found map[string]string, thread string) Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(); err != nil {
		k.cfg.Log.Warn("cannot read what was noted of replication", "error", err)
		return Record{}
	}
	if found != nil {
		for kind, text := range found {
			if _, goesOn := k.ongoing[kind]; !goesOn {
				k.note(kind, text, true)
			}
		}
		for kind, text := range k.ongoing {
			if _, goesOn := found[kind]; !goesOn { // it was there until now
				k.note(kind, text, true)
			}
		}
		k.ongoing = maps.Clone(found)
	}
	k.compare(thread)
	k.save()
	record := k.kept.Record
	record.Marks = slices.Clone(record.Marks)
	return record
}

// compare notes an SQL thread that runs and that the log does not have, although it had the one
// before: MariaDB does not log all any more. One that logs elsewhere never did.
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
	k.kept = kept{Record: Record{ID: k.kept.ID, Last: k.kept.Last}}
	clear(k.ongoing)
	clear(k.waiting)
	k.other = ""
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
	for _, kind := range slices.Sorted(maps.Keys(k.waiting)) {
		k.note(kind, k.waiting[kind], false)
	}
	if !k.dirty {
		return
	}
	if err := atomicfile.WriteJSON(k.cfg.File, k.kept); err != nil {
		k.cfg.Log.Warn("cannot keep what was noted of replication", "error", err)
		return
	}
	k.dirty = false
}

// note gives a mark the next number: at once, or no sooner than renewEvery after its latest one,
// for a log may have thousands of lines a second.
func (k *Keeper) note(kind, text string, atOnce bool) {
	if at, there := k.at[kind]; there && !atOnce && time.Since(at) < renewEvery {
		k.waiting[kind] = text
		return
	}
	delete(k.waiting, kind)
	k.kept.Last++
	k.at[kind], k.dirty = time.Now(), true
	k.kept.Marks = slices.DeleteFunc(slices.Clone(k.kept.Marks),
		func(m Mark) bool { return m.Kind == kind })
	k.kept.Marks = append(k.kept.Marks, Mark{Number: k.kept.Last, Kind: kind, Text: text,
		At: k.at[kind].UTC()})
	k.kept.Marks = k.kept.Marks[max(0, len(k.kept.Marks)-most):]
	k.cfg.Log.Warn("changes may have been left out", "kind", kind, "text", text)
}
