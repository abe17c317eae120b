package marks

import (
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/gtid"
)

// said is a line of MariaDB's log about the SQL thread of the connection without a name. Those of
// others begin with their names.
type said struct {
	what   what
	thread string // its number in MariaDB
	run    string // of the unit
	at     place
	text   string
}

// place is a GTID position as MariaDB logged it.
type place struct {
	At  string `json:"at,omitempty"`  // empty without one
	Cut bool   `json:"cut,omitempty"` // MariaDB cuts a line that is too long
}

type what int

const (
	started what = iota + 1
	stopped
	skipped
	failed
)

// longLine is the length of a line that MariaDB may have cut.
const longLine = 1000

var (
	line     = regexp.MustCompile(`^\d{4}-\d\d-\d\d +\d+:\d\d:\d\d (\d+) \[\w+\] (.*)$`)
	position = regexp.MustCompile(`; GTID position '([0-9,-]*)('|$)`)
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
func parse(e systemd.Entry) (said, bool) {
	parts := line.FindStringSubmatch(e.Message)
	if parts == nil {
		return said{}, false
	}
	for _, b := range beginnings {
		if !strings.HasPrefix(parts[2], b.text) {
			continue
		}
		s := said{what: b.what, thread: parts[1], run: e.InvocationID, text: parts[2]}
		if all := position.FindAllStringSubmatch(s.text, -1); len(all) > 0 {
			last := all[len(all)-1]
			s.at = place{At: last[1], Cut: last[2] == ""}
		} else {
			s.at.Cut = len(e.Message) >= longLine
		}
		return s, b.what != failed || s.loses() || s.unclear()
	}
	return said{}, false
}

// loses is true for an error after which the SQL thread may not simply be started again.
func (s said) loses() bool {
	for _, n := range number.FindAllStringSubmatch(s.text, -1) {
		if n[1] != "0" && !mariadb.Passes(n[1]) {
			return true
		}
	}
	return false
}

// unclear is true for an error whose number is not known: the text has a statement, which may have
// numbers of its own, and is cut before that of the error when it is long or has line breaks.
func (s said) unclear() bool { return strings.HasPrefix(s.text, "Slave SQL: Error '") }

// thread is what the log said of the SQL thread last.
type thread struct {
	State what   `json:"state,omitempty"` // started, stopped; 0 when it said nothing
	ID    string `json:"id,omitempty"`    // of the one that started, or is known to run
	Run   string `json:"run,omitempty"`   // of the unit
	place        // where it stopped
	// Unclear is the latest error whose number is not known, until it is or does not matter.
	Unclear *unclear `json:"unclear,omitempty"`
}

// unclear is an error that counts when the SQL thread stopped with it, unless MariaDB then has the
// number of one after which it may simply be started again.
type unclear struct {
	Text    string `json:"text"`
	Run     string `json:"run"`
	Exited  bool   `json:"exited,omitempty"`
	samples int    // since it is known
}

// take is the next line. It answers with what may have left changes out, by kind.
func (t *thread) take(s said) map[string]string {
	was, found := *t, map[string]string{}
	switch s.what {
	case skipped:
		found["skipped"] = "sql_slave_skip_counter left events out: " + s.text
	case failed:
		if s.loses() {
			found[mariadb.LossError] = "its SQL thread had an error: " + s.text
		} else {
			t.Unclear = &unclear{Text: s.text, Run: s.run}
		}
	case started:
		*t = thread{State: started, ID: s.thread, Run: s.run}
		if u := was.Unclear; u != nil && u.Exited {
			maps.Copy(found, u.counts())
		}
		switch {
		case was.State == stopped && !was.same(s.at):
			found["position"] = fmt.Sprintf("its SQL thread had stopped at %q and started at %q",
				was.At, s.at.At)
		// One that ran until MariaDB was killed said nothing of where it was.
		case was.State == started && was.Run == s.run:
			found["start"] = fmt.Sprintf("where its SQL thread stopped that started again at %q "+
				"is not in the log of MariaDB", s.at.At)
		}
	case stopped:
		*t = thread{State: stopped, ID: s.thread, Run: s.run, place: s.at, Unclear: was.Unclear}
		if t.Unclear != nil {
			t.Unclear.Exited = t.Unclear.Exited || t.Unclear.Run == s.run
		}
		if was.State == stopped ||
			was.State == started && (was.ID != s.thread || was.Run != s.run) {
			found["start"] = fmt.Sprintf("where its SQL thread started that stopped at %q is not "+
				"in the log of MariaDB", s.at.At)
		}
	}
	return found
}

// sampled clears up an error whose number was not known, with a sample of a replica. The first one
// may be older than the error.
func (t *thread) sampled(s Sample) map[string]string {
	u := t.Unclear
	if u == nil || !s.Follows {
		return nil
	}
	u.samples++
	switch {
	case u.samples < 2:
		return nil
	case s.Errno != 0 && mariadb.Passes(fmt.Sprint(s.Errno)):
	case s.Errno != 0 || u.Exited:
		t.Unclear = nil
		return u.counts()
	case u.samples < int(lateLog.Seconds()): // it has not stopped: it may have tried again
		return nil
	}
	t.Unclear = nil
	return nil
}

func (u unclear) counts() map[string]string {
	return map[string]string{mariadb.LossError: "its SQL thread had an error, and the log does " +
		"not have its number: " + u.Text}
}

// same is true for positions that do not differ as far as both were logged.
func (p place) same(other place) bool {
	was, err := p.domains()
	is, otherErr := other.domains()
	if err != nil || otherErr != nil {
		return p == other
	}
	return within(was, is, other.Cut) && within(is, was, p.Cut)
}

// within is true when the second one has all of the first one, but for what it was cut of.
func within(some, all map[uint32]gtid.GTID, cut bool) bool {
	for domain, g := range some {
		if other, there := all[domain]; there && other != g || !there && !cut {
			return false
		}
	}
	return true
}

// domains are the whole GTIDs of a position.
func (p place) domains() (map[uint32]gtid.GTID, error) {
	all := map[uint32]gtid.GTID{}
	parts := strings.Split(p.At, ",")
	if p.Cut || p.At == "" {
		parts = parts[:len(parts)-1] // the last one is half, or nothing
	}
	for _, part := range parts {
		g, err := gtid.Parse(part)
		if err != nil {
			return nil, err
		}
		all[g.Domain] = g
	}
	return all, nil
}
