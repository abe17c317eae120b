package marks_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/agent/internal/marks"
	"github.com/understudy-db/understudy/agent/internal/systemd"
)

// journal is the log of a MariaDB that a test writes.
type journal struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (j *journal) write(lines ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, text := range lines {
		j.lines = append(j.lines, "2026-11-30  0:15:24 "+text)
	}
	close(j.more)
	j.more = make(chan struct{})
}

func (j *journal) follow(ctx context.Context, cursor string,
	each func(systemd.Entry) error) error {
	next := 0
	j.mu.Lock()
	if _, err := fmt.Sscan(cursor, &next); err != nil {
		next = max(0, len(j.lines)-1)
	}
	j.mu.Unlock()
	for {
		j.mu.Lock()
		lines, more := j.lines, j.more
		j.mu.Unlock()
		for ; next < len(lines); next++ {
			if err := each(systemd.Entry{Message: lines[next],
				Cursor: fmt.Sprint(next + 1)}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}

const (
	starts = "%d [Note] Slave SQL thread initialized, starting replication in log 'b.000001' at " +
		"position 1140, relay log './r.000001' position: 4; GTID position '%s'"
	stops = "%d [Note] Slave SQL thread exiting, replication stopped in log 'b.000001' at " +
		"position 1140; GTID position '%s', master: 192.0.2.1:3306"
	skips = "%d [Note] 'SQL_SLAVE_SKIP_COUNTER=1' executed at relay_log_file='./r.000001', " +
		"relay_log_pos='4', master_log_name='b.000001', master_log_pos='1348', GTID '0-1-6';  " +
		"and new position at relay_log_file='./r.000002', relay_log_pos='873', " +
		"master_log_name='b.000001', master_log_pos='1567', GTID '0-1-7';  "
	fails = "%d [Warning] Slave SQL: Could not execute Update_rows_v1 event on table a.t; Can't " +
		"find record in 't', Error_code: %[2]d; handler error HA_ERR_KEY_NOT_FOUND; the event's " +
		"master log b.000001, end_log_pos 2008, Gtid 0-1-9, Internal MariaDB error code: %[2]d"
	fresh = "0 [Note] /usr/sbin/mariadbd: ready for connections."
)

// run has a keeper follow the log while a test goes on.
func run(t *testing.T, j *journal, file string, then func(k *marks.Keeper)) {
	t.Helper()
	k := marks.New(marks.Config{File: file, Follow: j.follow, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	go k.Run(ctx)
	synctest.Wait()
	then(k)
	cancel()
	synctest.Wait()
}

func newJournal() *journal {
	return &journal{more: make(chan struct{}), lines: []string{"2026-11-30  0:15:23 " + fresh}}
}

func texts(r marks.Record) string {
	all := make([]string, 0, len(r.Marks))
	for _, m := range r.Marks {
		all = append(all, m.Kind)
	}
	return strings.Join(all, ", ")
}

func TestWhatTheLogSays(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lines []string
		want  string
	}{
		"stopped and started": {[]string{fmt.Sprintf(starts, 7, "0-1-2"),
			fmt.Sprintf(stops, 7, "0-1-5,2-1-9"), fmt.Sprintf(starts, 11, "2-1-9,0-1-5")}, ""},
		"a position that was set": {[]string{fmt.Sprintf(starts, 7, "0-1-2"),
			fmt.Sprintf(stops, 7, "0-1-5"), fmt.Sprintf(starts, 11, "0-1-6")}, "position"},
		"one that was set back": {[]string{fmt.Sprintf(stops, 7, "0-1-5"),
			fmt.Sprintf(starts, 11, "0-1-4")}, "position"},
		"MariaDB was killed": {[]string{fmt.Sprintf(starts, 7, "0-1-2"),
			fmt.Sprintf(starts, 5, "0-1-8"), fmt.Sprintf(stops, 5, "0-1-9")}, ""},
		"a start that is not logged": {[]string{fmt.Sprintf(starts, 7, "0-1-2"),
			fmt.Sprintf(stops, 7, "0-1-5"), fmt.Sprintf(stops, 9, "0-1-6"),
			fmt.Sprintf(starts, 11, "0-1-6")}, "start"},
		"one behind a kill": {[]string{fmt.Sprintf(starts, 7, "0-1-2"),
			fmt.Sprintf(stops, 9, "0-1-6")}, "start"},
		"a stop that a user wrote": {[]string{fmt.Sprintf(stops, 7, "0-1-5"),
			fmt.Sprintf(stops, 7, "0-1-6"), fmt.Sprintf(starts, 9, "0-1-6")}, "start"},
		"skipped":              {[]string{fmt.Sprintf(skips, 18)}, "skipped"},
		"an error gone behind": {[]string{fmt.Sprintf(fails, 18, 1032)}, "error 1032"},
		"a deadlock":           {[]string{fmt.Sprintf(fails, 18, 1213)}, ""},
		"a statement with a number": {[]string{"7 [ERROR] Slave SQL: Error 'no' on query. Query: " +
			"'SELECT \"Error_code: 1213\"', Internal MariaDB error code: 1062"}, "error 1062"},
		"a statement of two lines": {[]string{"7 [ERROR] Slave SQL: Error 'no' on query. Query: " +
			"'INSERT"}, "error unknown"},
		"another connection": {[]string{fmt.Sprintf(stops, 7, "0-1-5"),
			"9 [Note] Master 'feed': Slave SQL thread exiting, replication stopped in log 'x' " +
				"at position 4; GTID position '0-1-7', master: 192.0.2.3:3306"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "marks.json")
			synctest.Test(t, func(t *testing.T) {
				run(t, newJournal(), file, func(*marks.Keeper) {})
			})
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				run(t, j, file, func(k *marks.Keeper) {
					j.write(test.lines...)
					synctest.Wait()
					if got := texts(k.Observe(nil, "")); got != test.want {
						t.Errorf("marks %q, want %q", got, test.want)
					}
				})
			})
		})
	}
}

// TestWhatHappenedWithoutTheAgent has the log go on while the agent is away, twice.
func TestWhatHappenedWithoutTheAgent(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marks.json")
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		run(t, j, file, func(*marks.Keeper) {
			j.write(fmt.Sprintf(starts, 7, "0-1-2"), fmt.Sprintf(stops, 7, "0-1-5"))
			synctest.Wait()
		})
		j.write(fmt.Sprintf(starts, 9, "0-1-6"), fresh)
		var id string
		run(t, j, file, func(k *marks.Keeper) {
			r := k.Observe(nil, "")
			if id = r.ID; texts(r) != "position" || r.Last != 1 || id == "" {
				t.Errorf("noted %+v", r)
			}
		})
		run(t, j, file, func(k *marks.Keeper) {
			if r := k.Observe(nil, ""); texts(r) != "position" || r.Last != 1 || r.ID != id {
				t.Errorf("after a restart: %+v", r)
			}
			// A copy begins: the marks are of other data, and so is what the log says until now.
			j.write(fmt.Sprintf(stops, 9, "0-1-7"))
			if err := k.Begin(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			j.write(fmt.Sprintf(starts, 4, "0-1-100"))
			synctest.Wait()
			if r := k.Observe(nil, ""); len(r.Marks) != 0 || r.Last != 1 || r.ID != id {
				t.Errorf("of a new copy: %+v", r)
			}
			j.write(fmt.Sprintf(skips, 4))
			synctest.Wait()
			if r := k.Observe(nil, ""); texts(r) != "skipped" || r.Marks[0].Number != 2 {
				t.Errorf("since it follows: %+v", r)
			}
		})
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		run(t, j, file, func(k *marks.Keeper) {
			if r := k.Observe(nil, ""); r.ID == id || r.ID == "" || r.Last != 0 {
				t.Errorf("of a record that was lost: %+v", r)
			}
		})
	})
}

// TestWhatASampleHas has a setting on for a while, and an error for good.
func TestWhatASampleHas(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marks.json")
	synctest.Test(t, func(t *testing.T) {
		run(t, newJournal(), file, func(k *marks.Keeper) {
			sample := func(when string, last int64, kinds string, found map[string]string) {
				t.Helper()
				if r := k.Observe(found, ""); r.Last != last || texts(r) != kinds {
					t.Errorf("%s: %+v", when, r)
				}
				time.Sleep(time.Second)
			}
			on := map[string]string{"slave_exec_mode": "slave_exec_mode was IDEMPOTENT"}
			none := map[string]string{}
			sample("nothing is wrong", 0, "", none)
			sample("a setting", 1, "slave_exec_mode", on)
			sample("it goes on", 1, "slave_exec_mode", on)
			sample("MariaDB does not answer", 1, "slave_exec_mode", nil)
			sample("it goes on still", 1, "slave_exec_mode", on)
			sample("it was there until now", 2, "slave_exec_mode", none)
			sample("it is over", 2, "slave_exec_mode", none)
			for n := range 20 {
				k.Observe(map[string]string{fmt.Sprint("error ", n): "an error"}, "")
			}
			if r := k.Observe(nil, ""); len(r.Marks) != 16 || r.Last != r.Marks[15].Number {
				t.Errorf("%d marks, the last %+v", len(r.Marks), r.Marks[len(r.Marks)-1])
			}
		})
	})
}

// TestALogOfThousandsOfLines has one error again and again: the last time counts, soon.
func TestALogOfThousandsOfLines(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marks.json")
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		run(t, j, file, func(k *marks.Keeper) {
			for range 1000 {
				j.write(fmt.Sprintf(fails, 18, 1032))
			}
			synctest.Wait()
			if r := k.Observe(nil, ""); r.Last != 1 {
				t.Errorf("%d numbers at once", r.Last)
			}
			time.Sleep(11 * time.Second)
			if r := k.Observe(nil, ""); r.Last != 2 {
				t.Errorf("%d numbers, want 2", r.Last)
			}
		})
	})
}

// TestAThreadThatTheLogDoesNotHave has MariaDB log an SQL thread late, and not at all.
func TestAThreadThatTheLogDoesNotHave(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marks.json")
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		run(t, j, file, func(k *marks.Keeper) {
			samples := func(when, thread, want string) {
				t.Helper()
				for range 40 {
					k.Observe(nil, thread)
					time.Sleep(time.Second)
				}
				if got := texts(k.Observe(nil, thread)); got != want {
					t.Errorf("%s: marks %q, want %q", when, got, want)
				}
			}
			samples("the first that is seen", "7", "")
			samples("it does not run", "", "")
			for range 5 {
				k.Observe(nil, "9")
				time.Sleep(time.Second)
			}
			j.write(fmt.Sprintf(starts, 9, "0-1-5"))
			synctest.Wait()
			samples("logged late", "9", "")
			samples("not logged", "11", "start")
			samples("it goes on", "11", "start")
			samples("it never logs", "13", "start")
			if k.Observe(nil, "13").Last != 1 {
				t.Error("it is noted again and again")
			}
			j.write(fmt.Sprintf(stops, 13, "0-1-6"), fmt.Sprintf(starts, 15, "0-1-6"))
			synctest.Wait()
			if k.Observe(nil, "15").Last != 1 {
				t.Error("it is noted once more when it stops")
			}
		})
	})
}
