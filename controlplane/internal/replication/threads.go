package replication

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Threads says what the state of a replica's two threads means for whoever makes or keeps the
// replica.
type Threads int

// What the threads' state means.
const (
	// Running: both threads run.
	Running Threads = iota + 1
	// Absent: replication is not configured.
	Absent
	// Stopped: a thread is off without an error; start it.
	Stopped
	// Connecting: the IO thread is on its way, or the primary is out of reach for now; wait.
	Connecting
	// Interrupted: a thread was killed or gave up on something that passes; start it again.
	Interrupted
	// AccountRefused: the primary refuses the account; make it again.
	AccountRefused
	// HandshakeFailed: the two do not accept each other's certificates for now; wait, for MariaDB
	// tries again.
	HandshakeFailed
	// BinlogsGone: the primary no longer has what this replica needs; make the replica again.
	BinlogsGone
	// ServerIDTaken: another server uses this one's server_id.
	ServerIDTaken
	// Broken: MariaDB cannot go on; its own error says why.
	Broken
)

// Verdict is what the threads' state means, with MariaDB's own words.
type Verdict struct {
	Threads Threads
	Thread  string // "IO" or "SQL"; empty when none is at fault
	Errno   int
	Text    string // MariaDB's error, word for word
}

// String is the verdict in words, with MariaDB's own.
func (v Verdict) String() string {
	switch {
	case v.Threads == Running:
		return "both threads run"
	case v.Threads == Absent:
		return "replication is not configured"
	case v.Errno != 0:
		return fmt.Sprintf("%s thread: error %d: %s", v.Thread, v.Errno, v.Text)
	case v.Thread != "":
		return v.Thread + " thread is not running, without an error"
	default:
		return "the IO thread is connecting"
	}
}

// Find returns the connection that uses the account, or the default one when account is empty.
func Find(conns []Connection, account string) (Connection, bool) {
	i := slices.IndexFunc(conns, func(c Connection) bool {
		return account != "" && c.User == account || account == "" && c.Name == ""
	})
	if i < 0 {
		return Connection{}, false
	}
	return conns[i], true
}

// Diagnose says what the state of a connection's threads means. The SQL thread comes first: its
// errors need an operator.
func Diagnose(c Connection) Verdict {
	sql, io := c.sqlVerdict(), c.ioVerdict()
	switch {
	case sql.Threads == Broken:
		return sql
	case io.Threads != Running:
		return io
	default:
		return sql
	}
}

func (c Connection) sqlVerdict() Verdict {
	v := Verdict{Thread: "SQL", Errno: c.SQLErrno, Text: c.SQLError}
	switch {
	case c.SQLRunning == "Yes":
		return Verdict{Threads: Running}
	case c.SQLErrno == 0:
		v.Threads = Stopped
	case slices.Contains(passing, c.SQLErrno):
		v.Threads = Interrupted
	default:
		v.Threads = Broken
	}
	return v
}

// passing are errors after which the SQL thread may simply be started again: interrupted, shutdown,
// lock wait, deadlock, connection killed, relay log unreadable (with GTID it is fetched again).
var passing = []int{1053, 1205, 1213, 1317, 1594, 1927}

func (c Connection) ioVerdict() Verdict {
	v := Verdict{Thread: "IO", Errno: c.IOErrno, Text: c.IOError}
	switch {
	case c.IORunning == "Yes":
		return Verdict{Threads: Running}
	case c.IOErrno == 0 && c.IORunning == "No":
		v.Threads = Stopped
	case c.IOErrno == 0:
		return Verdict{Threads: Connecting}
	default:
		v.Threads = ioError(c.IOErrno, c.IOError)
	}
	return v
}

// inner finds the error that the primary answered a command of the IO thread with, as "Master
// command … failed: … (Errno: 1045)".
var inner = regexp.MustCompile(`\(Errno: (\d+)\)$`)

func ioError(errno int, text string) Threads {
	if found := inner.FindStringSubmatch(strings.TrimSpace(text)); errno == 1597 && found != nil {
		if errno, err := strconv.Atoi(found[1]); err == nil && errno != 1597 {
			return ioError(errno, text)
		}
	}
	low := strings.ToLower(text)
	switch {
	case errno == 1236 && strings.Contains(low, "same server_uuid/server_id"), errno == 1593,
		errno == 4052:
		return ServerIDTaken
	case errno == 1236:
		return BinlogsGone
	case slices.Contains([]int{1044, 1045, 1130, 1142, 1227, 1698, 1820, 1862, 4151}, errno):
		return AccountRefused
	case errno == 2026:
		return HandshakeFailed
	case slices.Contains([]int{1040, 1053, 1129, 1158, 1159, 1160, 1161, 1203, 1205, 1317, 1429,
		1927, 2002, 2003, 2005, 2006, 2013}, errno):
		return Connecting
	default:
		return Broken
	}
}

// Namesake is a replica that is connected to the server of the status under this server_id, and is
// not the one with these names.
func (s Status) Namesake(serverID uint32, names ...string) (Connected, bool) {
	for _, c := range s.Replicas {
		if c.ServerID == serverID && c.Host != "" && !slices.Contains(names, c.Host) {
			return c, true
		}
	}
	return Connected{}, false
}
