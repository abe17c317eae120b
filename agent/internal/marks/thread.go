package marks

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/gtid"
)

// said is a line of MariaDB's log about the SQL thread of the connection without a name. Those of
// others begin with their names.
type said struct {
	what   what
	thread string // its number in MariaDB
	at     string // GTID position; empty without one
	text   string
}

type what int

const (
	started what = iota + 1
	stopped
	skipped
	failed
)

var (
	line     = regexp.MustCompile(`^\d{4}-\d\d-\d\d +\d+:\d\d:\d\d (\d+) \[\w+\] (.*)$`)
	position = regexp.MustCompile(`; GTID position '([0-9,-]*)'`)
	number   = regexp.MustCompile(`[Ee]rror[_ ]code: (\d+)`)
)

// beginnings are how the lines begin, in 10.6 to 11.8.
var beginnings = []struct {
	text string
	what what
}{
	{"Slave SQL thread initialized, starting replication", started},
	{"Slave SQL thread exiting, replication stopped", stopped},
	{"'SQL_SLAVE_SKIP_COUNTER=", skipped},
	{"Slave SQL: ", failed},
}

// parse reads a line of the log. A database user may have written any of it, so that what it says
// may add a mark, and takes none away.
func parse(message string) (said, bool) {
	parts := line.FindStringSubmatch(message)
	if parts == nil {
		return said{}, false
	}
	for _, b := range beginnings {
		if !strings.HasPrefix(parts[2], b.text) {
			continue
		}
		s := said{what: b.what, thread: parts[1], text: parts[2]}
		if all := position.FindAllStringSubmatch(s.text, -1); len(all) > 0 {
			s.at = all[len(all)-1][1]
		}
		return s, b.what != failed || s.loses()
	}
	return said{}, false
}

// loses is true for an error after which the SQL thread may not simply be started again. The text
// may have a statement with numbers of its own; one with line breaks is cut before the number.
func (s said) loses() bool {
	all := number.FindAllStringSubmatch(s.text, -1)
	for _, n := range all {
		if n[1] != "0" && !mariadb.Passes(n[1]) {
			return true
		}
	}
	return len(all) == 0 && strings.HasPrefix(s.text, "Slave SQL: Error '")
}

// errno is the number of the error; the last one is MariaDB's own.
func (s said) errno() string {
	all := number.FindAllStringSubmatch(s.text, -1)
	if len(all) == 0 {
		return "unknown"
	}
	return all[len(all)-1][1]
}

// thread is what the log said of the SQL thread last.
type thread struct {
	State what   `json:"state,omitempty"` // started, stopped; 0 when it said nothing
	ID    string `json:"id,omitempty"`    // of the one that started, or is known to run
	At    string `json:"at,omitempty"`    // where it stopped
}

// take is the next line. It answers with what may have left changes out, by kind.
func (t *thread) take(s said) map[string]string {
	was := *t
	switch s.what {
	case skipped:
		return map[string]string{"skipped": "sql_slave_skip_counter left events out: " + s.text}
	case failed:
		return map[string]string{"error " + s.errno(): "its SQL thread had an error: " + s.text}
	case started:
		// One that ran until MariaDB was killed said nothing of where it was.
		*t = thread{State: started, ID: s.thread}
		if was.State == stopped && !samePosition(was.At, s.at) {
			return map[string]string{"position": fmt.Sprintf("its SQL thread had stopped at %q "+
				"and started at %q", was.At, s.at)}
		}
	case stopped:
		*t = thread{State: stopped, ID: s.thread, At: s.at}
		if was.State == stopped || was.State == started && was.ID != s.thread {
			return map[string]string{"start": fmt.Sprintf("where its SQL thread started that "+
				"stopped at %q is not in the log of MariaDB", s.at)}
		}
	}
	return nil
}

func samePosition(a, b string) bool {
	was, err := gtid.ParsePosition(a)
	is, isErr := gtid.ParsePosition(b)
	if err != nil || isErr != nil {
		return a == b
	}
	return was.Equal(is)
}
