package marks_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/agent/internal/marks"
)

// TestAnErrorWithoutItsNumber has the log cut an error: a sample has its number, or does not.
func TestAnErrorWithoutItsNumber(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		exits  bool
		before int // the number that a sample has which may be older
		errno  int
		want   string
	}{
		"a lock wait":                         {true, 0, 1205, ""},
		"a duplicate key":                     {true, 0, 1062, "error"},
		"one behind a lock wait":              {true, 1205, 1062, "error"},
		"its number is reset":                 {true, 0, 0, "error"},
		"it was tried again":                  {false, 0, 0, ""},
		"a duplicate key before it has ended": {false, 0, 1062, "error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			follows(t, func(t *testing.T, j *journal, k *marks.Keeper) {
				j.write(fmt.Sprintf(starts, 7, "0-1-2"), unnumbered)
				if test.exits {
					j.write(fmt.Sprintf(stops, 7, "0-1-5"))
				}
				synctest.Wait()
				k.Observe(marks.Sample{}) // MariaDB does not answer
				k.Observe(marks.Sample{Follows: true, Errno: test.before})
				for range 40 {
					k.Observe(marks.Sample{Follows: true, Errno: test.errno})
				}
				if got := texts(k.Observe(marks.Sample{})); got != test.want {
					t.Errorf("marks %q, want %q", got, test.want)
				}
				stop := []string{}
				if !test.exits {
					stop = append(stop, fmt.Sprintf(stops, 7, "0-1-6"))
				}
				j.write(append(stop, fmt.Sprintf(starts, 9, map[bool]string{true: "0-1-5",
					false: "0-1-6"}[test.exits]))...)
				synctest.Wait()
				if got := texts(k.Observe(marks.Sample{})); got != test.want {
					t.Errorf("once it was started again: marks %q, want %q", got, test.want)
				}
			})
		})
	}
}

// TestASecondErrorWhenTheAgentDies has one error twice, and the agent die before it may number it.
func TestASecondErrorWhenTheAgentDies(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marks.json")
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		run(t, j, file, func(k *marks.Keeper) {
			j.write(fmt.Sprintf(fails, 18, 1032))
			synctest.Wait()
			if r := k.Observe(marks.Sample{}); r.Last != 1 {
				t.Errorf("the first: %+v", r)
			}
			j.write(fmt.Sprintf(fails, 18, 1062))
			synctest.Wait()
		})
		j.entries = j.entries[:1] // journald drops what is old
		run(t, j, file, func(k *marks.Keeper) {
			if r := k.Observe(marks.Sample{}); r.Last != 2 || !strings.Contains(r.Marks[0].Text,
				"1062") {
				t.Errorf("the second: %+v", r)
			}
		})
	})
}

// TestALogWithoutEnd has lines of which none says anything that has to be kept at once.
func TestALogWithoutEnd(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marks.json")
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		run(t, j, file, func(k *marks.Keeper) {
			k.Observe(marks.Sample{})
			was, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 100 {
				j.write(unnumbered, fmt.Sprintf(fails, 18, 1213), fmt.Sprint(n, " [Note] no"))
				synctest.Wait()
			}
			if is, err := os.Stat(file); err != nil || !os.SameFile(was, is) {
				t.Errorf("it was written for a line (%v)", err)
			}
			k.Observe(marks.Sample{})
			if is, err := os.Stat(file); err != nil || os.SameFile(was, is) {
				t.Errorf("it was not written at all (%v)", err)
			}
		})
	})
}

// TestALogThatCannotBeRead has journalctl fail, and a MariaDB that logs elsewhere.
func TestALogThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		run(t, j, filepath.Join(dir, "fails.json"), func(k *marks.Keeper) {
			j.mu.Lock()
			j.fails = errors.New("no such journal")
			j.mu.Unlock()
			j.write("0 [Note] woken")
			if r := k.Observe(marks.Sample{}); r.Unread != "" {
				t.Errorf("at once: %q", r.Unread)
			}
			time.Sleep(2 * time.Minute)
			if r := k.Observe(marks.Sample{}); !strings.Contains(r.Unread, "no such journal") ||
				time.Since(r.UnreadSince) < time.Minute {
				t.Errorf("after two minutes: %q since %s", r.Unread, r.UnreadSince)
			}
			j.mu.Lock()
			j.fails = nil
			j.mu.Unlock()
			time.Sleep(time.Minute)
			if r := k.Observe(marks.Sample{}); r.Unread != "" {
				t.Errorf("when it can be read again: %q", r.Unread)
			}
		})
	})
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		run(t, j, filepath.Join(dir, "elsewhere.json"), func(k *marks.Keeper) {
			if err := k.Begin(); err != nil {
				t.Fatal(err)
			}
			for range 40 {
				k.Observe(marks.Sample{Thread: "7"})
				time.Sleep(time.Second)
			}
			if r := k.Observe(marks.Sample{Thread: "7"}); r.Last != 0 ||
				!strings.Contains(r.Unread, "log_error") {
				t.Errorf("of a log that says nothing: %+v", r)
			}
			j.write(fmt.Sprintf(stops, 7, "0-1-2"), fmt.Sprintf(starts, 9, "0-1-2"))
			synctest.Wait()
			if r := k.Observe(marks.Sample{Thread: "9"}); r.Last != 0 || r.Unread != "" {
				t.Errorf("when it says all again: %+v", r)
			}
		})
	})
	synctest.Test(t, func(t *testing.T) {
		run(t, newJournal(), dir, func(k *marks.Keeper) { // a directory is no file
			if r := k.Observe(marks.Sample{}); r.ID != "" || r.Unread == "" {
				t.Errorf("of a record that cannot be read: %+v", r)
			}
		})
	})
}

// TestTheFirstLineOfANewCopy has nothing in the journal when the copy begins.
func TestTheFirstLineOfANewCopy(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marks.json")
	synctest.Test(t, func(t *testing.T) {
		j := &journal{more: make(chan struct{})}
		run(t, j, file, func(k *marks.Keeper) {
			if err := k.Begin(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			j.write(fmt.Sprintf(skips, 4))
			synctest.Wait()
			if r := k.Observe(marks.Sample{}); texts(r) != "skipped" {
				t.Errorf("noted %+v", r)
			}
		})
	})
}
