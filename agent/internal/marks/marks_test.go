package marks_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/agent/internal/marks"
)

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

const unnumbered = "7 [ERROR] Slave SQL: Error 'no' on query. Query: 'INSERT"

// cut is a line that ends within its position.
func cut(format string, thread int, position string) string {
	text := fmt.Sprintf(format, thread, position)
	return text[:strings.Index(text, "GTID position '")+len("GTID position '")+len(position)]
}

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

// follows has a keeper with a file of its own follow a log of its own.
func follows(t *testing.T, then func(t *testing.T, j *journal, k *marks.Keeper)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "marks.json")
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		j := newJournal()
		run(t, j, file, func(k *marks.Keeper) { then(t, j, k) })
	})
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
		"MariaDB was killed": {[]string{fmt.Sprintf(starts, 7, "0-1-2"), fresh,
			fmt.Sprintf(starts, 5, "0-1-8"), fmt.Sprintf(stops, 5, "0-1-9")}, ""},
		"a start that is not logged": {[]string{fmt.Sprintf(starts, 7, "0-1-2"),
			fmt.Sprintf(stops, 7, "0-1-5"), fmt.Sprintf(stops, 9, "0-1-6"),
			fmt.Sprintf(starts, 11, "0-1-6")}, "start"},
		"one behind a kill": {[]string{fmt.Sprintf(starts, 7, "0-1-2"),
			fmt.Sprintf(stops, 9, "0-1-6")}, "start"},
		"a stop that a user wrote": {[]string{fmt.Sprintf(stops, 7, "0-1-5"),
			fmt.Sprintf(stops, 7, "0-1-6"), fmt.Sprintf(starts, 9, "0-1-6")}, "start"},
		"a start that a user wrote": {[]string{fmt.Sprintf(stops, 7, "0-1-5"),
			fmt.Sprintf(starts, 9, "0-1-5"), fmt.Sprintf(starts, 9, "0-1-6")}, "start"},
		"a stop of a run that was killed": {[]string{fmt.Sprintf(starts, 7, "0-1-2"), fresh,
			fmt.Sprintf(stops, 7, "0-1-5")}, "start"},
		"a position that is cut": {[]string{cut(stops, 7, "0-1-5,1-1-7,2-1-34"),
			cut(starts, 9, "1-1-7,0-1-5,2")}, ""},
		"one that was set": {[]string{cut(stops, 7, "0-1-5,1-1-7,2-1-34"),
			cut(starts, 9, "1-1-8,0-1-5")}, "position"},
		"one that is whole": {[]string{cut(stops, 7, "0-1-5,1-1-7,2"),
			fmt.Sprintf(starts, 9, "0-1-5")}, "position"},
		"a line that is cut before it": {[]string{fmt.Sprintf(stops, 7, "0-1-5"),
			"9 [Note] Slave SQL thread initialized, starting replication in log '" +
				strings.Repeat("x", 1000)}, ""},
		"no position": {[]string{fmt.Sprintf(stops, 7, "0-1-5"),
			fmt.Sprintf(starts, 9, "")}, "position"},
		"skipped":              {[]string{fmt.Sprintf(skips, 18)}, "skipped"},
		"an error gone behind": {[]string{fmt.Sprintf(fails, 18, 1032)}, "error"},
		"a deadlock":           {[]string{fmt.Sprintf(fails, 18, 1213)}, ""},
		"a statement with a number": {[]string{"7 [ERROR] Slave SQL: Error 'no' on query. Query: " +
			"'SELECT \"Error_code: 1213\"', Internal MariaDB error code: 1062"}, "error"},
		"a lock wait with a statement of two lines": {[]string{unnumbered}, ""},
		"an error with one, and then a start": {[]string{fmt.Sprintf(starts, 7, "0-1-2"),
			unnumbered, fmt.Sprintf(stops, 7, "0-1-5"), fmt.Sprintf(starts, 9, "0-1-5")}, "error"},
		"a statement with the number of a deadlock": {[]string{fmt.Sprintf(starts, 7, "0-1-2"),
			"7 [ERROR] Slave SQL: Error 'no' on query. Query: 'INSERT /* error code: 1213",
			fmt.Sprintf(stops, 7, "0-1-5"), fmt.Sprintf(starts, 9, "0-1-5")}, "error"},
		"MariaDB was killed behind it": {[]string{fmt.Sprintf(starts, 7, "0-1-2"), unnumbered,
			fresh, fmt.Sprintf(starts, 9, "0-1-5")}, ""},
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
					if got := texts(k.Observe(marks.Sample{})); got != test.want {
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
		j.write(fmt.Sprintf(starts, 9, "0-1-6"))
		var id string
		run(t, j, file, func(k *marks.Keeper) {
			r := k.Observe(marks.Sample{})
			if id = r.ID; texts(r) != "position" || r.Last != 1 || id == "" {
				t.Errorf("noted %+v", r)
			}
		})
		run(t, j, file, func(k *marks.Keeper) {
			if r := k.Observe(marks.Sample{}); texts(r) != "position" || r.Last != 1 || r.ID != id {
				t.Errorf("after a restart: %+v", r)
			}
			// A copy begins: the marks are of other data, and so is what the log says until now.
			j.write(fmt.Sprintf(stops, 9, "0-1-7"))
			time.Sleep(time.Second)
			if err := k.Begin(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			j.write(fmt.Sprintf(starts, 4, "0-1-100"))
			synctest.Wait()
			time.Sleep(time.Second)
			if r := k.Observe(marks.Sample{}); len(r.Marks) != 0 || r.Last != 1 || r.ID != id {
				t.Errorf("of a new copy: %+v", r)
			}
			j.write(fmt.Sprintf(skips, 4))
			synctest.Wait()
			if r := k.Observe(marks.Sample{}); texts(r) != "skipped" || r.Marks[0].Number != 2 {
				t.Errorf("since it follows: %+v", r)
			}
		})
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		run(t, j, file, func(k *marks.Keeper) {
			if r := k.Observe(marks.Sample{}); r.ID == id || r.ID == "" || r.Last != 0 {
				t.Errorf("of a record that was lost: %+v", r)
			}
		})
	})
}

// TestWhatASampleHas has a setting on for a while, and an error for good.
func TestWhatASampleHas(t *testing.T) {
	t.Parallel()
	follows(t, func(t *testing.T, _ *journal, k *marks.Keeper) {
		sample := func(when string, last int64, kinds string, found map[string]string) {
			t.Helper()
			r := k.Observe(marks.Sample{Losses: found})
			if r.Last != last || texts(r) != kinds {
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
			k.Observe(marks.Sample{
				Losses: map[string]string{fmt.Sprint("kind ", n): "an error"}})
		}
		if r := k.Observe(marks.Sample{}); len(r.Marks) != 16 || r.Last != r.Marks[15].Number {
			t.Errorf("%d marks, the last %+v", len(r.Marks), r.Marks[len(r.Marks)-1])
		}
	})
}

// TestALogOfThousandsOfLines has one error again and again: the last time counts, soon.
func TestALogOfThousandsOfLines(t *testing.T) {
	t.Parallel()
	follows(t, func(t *testing.T, j *journal, k *marks.Keeper) {
		for range 1000 {
			j.write(fmt.Sprintf(fails, 18, 1032))
		}
		synctest.Wait()
		if r := k.Observe(marks.Sample{}); r.Last != 1 {
			t.Errorf("%d numbers at once", r.Last)
		}
		time.Sleep(11 * time.Second)
		if r := k.Observe(marks.Sample{}); r.Last != 2 {
			t.Errorf("%d numbers, want 2", r.Last)
		}
	})
}

// TestAThreadThatTheLogDoesNotHave has MariaDB log an SQL thread late, and not at all.
func TestAThreadThatTheLogDoesNotHave(t *testing.T) {
	t.Parallel()
	follows(t, func(t *testing.T, j *journal, k *marks.Keeper) {
		samples := func(when, thread, want string) {
			t.Helper()
			for range 40 {
				k.Observe(marks.Sample{Thread: thread})
				time.Sleep(time.Second)
			}
			if got := texts(k.Observe(marks.Sample{Thread: thread})); got != want {
				t.Errorf("%s: marks %q, want %q", when, got, want)
			}
		}
		samples("the first that is seen", "7", "")
		samples("it does not run", "", "")
		for range 5 {
			k.Observe(marks.Sample{Thread: "9"})
			time.Sleep(time.Second)
		}
		j.write(fmt.Sprintf(starts, 9, "0-1-5"))
		synctest.Wait()
		samples("logged late", "9", "")
		samples("not logged", "11", "start")
		samples("it goes on", "11", "start")
		samples("it never logs", "13", "start")
		if k.Observe(marks.Sample{Thread: "13"}).Last != 1 {
			t.Error("it is noted again and again")
		}
		j.write(fmt.Sprintf(stops, 13, "0-1-6"), fmt.Sprintf(starts, 15, "0-1-6"))
		synctest.Wait()
		if k.Observe(marks.Sample{Thread: "15"}).Last != 1 {
			t.Error("it is noted once more when it stops")
		}
	})
}
