package marks_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/agent/internal/marks"
)

const (
	innodbRecovers = "0 [Note] InnoDB: Starting crash recovery from checkpoint LSN=46870"
	binlogRecovers = "0 [Note] Recovering after a crash using mariadb-bin"
)

// loose are tables without transactions, by when they were written to.
type loose struct {
	mu   sync.Mutex
	at   map[string]time.Time
	down bool
}

func (l *loose) write(name string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at[name] = at
}

func (l *loose) stop(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}

func (l *loose) written(_ context.Context, since time.Time) (names []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.New("MariaDB does not answer")
	}
	for name, at := range l.at {
		if !at.Before(since) {
			names = append(names, name)
		}
	}
	return names, nil
}

// TestACrashUnprovesWhatNoLogRestores has MariaDB start again behind a stop or a crash, with a
// table that the run before wrote to, or one of before.
func TestACrashUnprovesWhatNoLogRestores(t *testing.T) {
	t.Parallel()
	crash := []string{fresh, innodbRecovers}
	for name, test := range map[string]struct {
		lines   []string
		wrote   bool // the run that ends had written
		down    bool // MariaDB does not answer for a while
		restart bool // the agent is restarted meanwhile
		want    string
	}{
		"stopped": {lines: []string{fresh}, wrote: true},
		"crashed": {lines: crash, wrote: true, want: "crash"},
		"crashed, by its binary log": {lines: []string{fresh, binlogRecovers}, wrote: true,
			want: "crash"},
		"crashed, and wrote nothing": {lines: crash},
		"crashed, slow to answer":    {lines: crash, wrote: true, down: true, want: "crash"},
		"crashed, and the agent too": {lines: crash, wrote: true, down: true, restart: true,
			want: "crash"},
		"crashed twice": {lines: []string{fresh, innodbRecovers, fresh, binlogRecovers},
			wrote: true, down: true, want: "crash"},
		"a user says so": {lines: []string{"7 [Warning] Access denied for user " +
			"'0 [Note] InnoDB: Starting crash recovery'"}, wrote: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "marks.json")
			synctest.Test(t, func(t *testing.T) {
				j, tables := newJournal(), &loose{at: map[string]time.Time{}}
				keeps(t, j, file, tables, func(k *marks.Keeper) {
					if err := k.Begin(); err != nil {
						t.Fatal(err)
					}
					tables.write("shop.still", time.Now().Add(-time.Hour)) // the copy has it
					time.Sleep(time.Hour)
					j.write(fmt.Sprintf(starts, 7, "0-1-2"))
					if test.wrote {
						tables.write("shop.m", time.Now())
					}
					time.Sleep(time.Hour)
					tables.stop(test.down)
					j.write(test.lines...)
					time.Sleep(time.Minute)
					found := k.Observe(marks.Sample{})
					if got := texts(found); test.down && got != "" {
						t.Errorf("nobody could tell, and it noted %q", got)
					}
					if (found.Unread != "") != test.down {
						t.Errorf("it is unread: %q", found.Unread)
					}
					if !test.restart {
						tables.stop(false)
						time.Sleep(time.Minute)
						expectsMark(t, k, test.want)
					}
				})
				if test.restart {
					tables.stop(false)
					keeps(t, j, file, tables, func(k *marks.Keeper) {
						time.Sleep(time.Minute)
						expectsMark(t, k, test.want)
					})
				}
			})
		})
	}
}

// TestARunThatWasNotReadOf has MariaDB crash and answer again while the agent is down: before the
// journal is read, a mark may be missing.
func TestARunThatWasNotReadOf(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marks.json")
	synctest.Test(t, func(t *testing.T) {
		j, tables := newJournal(), &loose{at: map[string]time.Time{}}
		run := func() string { return strconv.Itoa(j.run) }
		keeps(t, j, file, tables, func(k *marks.Keeper) {
			j.write(fresh)
			synctest.Wait()
			if r := k.Observe(marks.Sample{Run: run()}); r.Unread != "" {
				t.Errorf("unread: %q", r.Unread)
			}
		})
		tables.write("shop.m", time.Now())
		j.write(fresh, innodbRecovers)
		before := marks.New(marks.Config{File: file, Follow: j.follow, Written: tables.written,
			Log: slog.New(slog.DiscardHandler)})
		if r := before.Observe(marks.Sample{Run: run()}); r.Unread == "" {
			t.Error("nothing was read of the run that answers, and it is told as read")
		}
		keeps(t, j, file, tables, func(k *marks.Keeper) {
			time.Sleep(time.Minute)
			if r := k.Observe(marks.Sample{Run: run()}); r.Unread != "" {
				t.Errorf("unread: %q", r.Unread)
			}
			expectsMark(t, k, "crash")
		})
	})
}

func expectsMark(t *testing.T, k *marks.Keeper, want string) {
	t.Helper()
	r := k.Observe(marks.Sample{})
	if texts(r) != want || r.Unread != "" {
		t.Fatalf("noted %q, want %q; unread: %q", texts(r), want, r.Unread)
	}
	if want != "" && (!strings.HasSuffix(r.Marks[0].Text, ": shop.m") || r.Last != 1) {
		t.Errorf("noted %+v", r)
	}
}

// keeps is run with tables.
func keeps(t *testing.T, j *journal, file string, tables *loose, then func(k *marks.Keeper)) {
	t.Helper()
	k := marks.New(marks.Config{File: file, Follow: j.follow, Written: tables.written,
		Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	go k.Run(ctx)
	synctest.Wait()
	then(k)
	cancel()
	synctest.Wait()
}

// TestACrashOfAnUnknownRun counts what was written at any time: an agent of before did not note
// when the run had begun.
func TestACrashOfAnUnknownRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marks.json")
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		tables := &loose{at: map[string]time.Time{"shop.m": time.Now().Add(-24 * time.Hour)}}
		keeps(t, j, file, tables, func(k *marks.Keeper) {
			j.write(fresh, innodbRecovers)
			time.Sleep(time.Minute)
			expectsMark(t, k, "crash")
		})
	})
}
