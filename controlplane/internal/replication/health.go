package replication

import "fmt"

// Want is what a replica must be.
type Want struct {
	ServerID    uint32
	Account     string // that it connects as
	PrimaryHost string
	PrimaryPort int
	AutoStart   bool // replication starts with MariaDB
}

// Problems are all the reasons why this is not a replica as wanted; none when it is. It says
// nothing about how far behind it is.
func (w Want) Problems(s Status) []string {
	if !s.Answers {
		return []string{"MariaDB does not answer: " + s.DownReason}
	}
	var all []string
	if clock := s.Clock.Problem(); clock != "" {
		all = append(all, clock)
	}
	add := func(bad bool, format string, args ...any) {
		if bad {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(len(s.Mismatches) > 0, "%s", s.Mismatch())
	add(s.ServerID != w.ServerID, "server_id is %d, not %d", s.ServerID, w.ServerID)
	add(!s.ReadOnly, "it is not read-only")
	add(s.EventScheduler == "ON", "the event scheduler runs")
	for _, lossy := range append(ApplyLosses(s), LogLosses(s)...) {
		add(true, "%s", lossy)
	}
	errant := Errant(s)
	add(errant != "", "it holds transactions of its own: %s", errant)
	conn, ok := Find(s.Connections, w.Account)
	if !ok {
		return append(all, "replication is not configured")
	}
	add(!w.Points(conn), "it follows %s:%d, not %s:%d", conn.PrimaryHost, conn.PrimaryPort,
		w.PrimaryHost, w.PrimaryPort)
	add(!conn.byGTID(), "it replicates without GTID")
	add(!conn.TLS || !conn.TLSVerify, "it replicates without verified TLS")
	v := Diagnose(conn)
	add(v.Threads != Running, "%s", v)
	return all
}

// Points reports whether the connection goes to the wanted primary.
func (w Want) Points(c Connection) bool {
	return c.PrimaryHost == w.PrimaryHost && c.PrimaryPort == w.PrimaryPort
}

// Fits reports whether the connection is configured as wanted, whatever its threads do.
func (w Want) Fits(c Connection) bool {
	return w.Points(c) && c.User == w.Account && c.byGTID() && c.TLS && c.TLSVerify &&
		len(losses(c.repairable(), applyLosses())) == 0
}

// repairable are the settings of the connection that pointing it to its primary again takes back.
func (c Connection) repairable() map[string]string {
	found := map[string]string{}
	for _, name := range []string{"sql_delay", "replicate_do_domain_ids",
		"replicate_ignore_domain_ids", "replicate_ignore_server_ids"} {
		if value, set := c.Settings[name]; set {
			found[name] = value
		}
	}
	return found
}

func (c Connection) byGTID() bool { return c.UsingGTID == "Slave_Pos" }

// Health is how a server is, as far as it was observed just now.
type Health int

// The healths.
const (
	// Healthy does what its role says.
	Healthy Health = iota + 1
	// Degraded answers but does not do what its role says.
	Degraded
	// Unreachable is not known: its agent does not answer. Unknown is not healthy.
	Unreachable
)

// JudgeReplica tells how a replica is from one look at it; err is why there was none.
func JudgeReplica(s Status, err error, w Want) (Health, string) {
	if err != nil {
		return Unreachable, err.Error()
	}
	if problems := w.Problems(s); len(problems) > 0 {
		return Degraded, problems[0]
	}
	return Healthy, ""
}

// JudgePrimary tells how a primary is from one look at it; err is why there was none.
func JudgePrimary(s Status, err error, serverID uint32) (Health, string) {
	switch {
	case err != nil:
		return Unreachable, err.Error()
	case !s.Answers:
		return Degraded, "MariaDB does not answer: " + s.DownReason
	case s.Clock.Problem() != "":
		return Degraded, s.Clock.Problem()
	case len(s.Mismatches) > 0:
		return Degraded, s.Mismatch()
	case s.ServerID != serverID:
		return Degraded, fmt.Sprintf("server_id is %d, not %d", s.ServerID, serverID)
	case s.ReadOnly:
		return Degraded, "it is read-only"
	case !s.LogBin:
		return Degraded, "its binary log is off"
	}
	if lossy := LogLosses(s); len(lossy) > 0 {
		return Degraded, lossy[0]
	}
	return Healthy, ""
}
