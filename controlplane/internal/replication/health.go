package replication

// Want is what a replica must be.
type Want struct {
	ServerID    uint32
	Account     string // that it connects as
	PrimaryHost string
	PrimaryPort int
	AutoStart   bool // replication starts with MariaDB
	Certificate bool // it can sign in with a certificate, and needs no password
}

// Problems are the texts of Findings.
func (w Want) Problems(s Status) []string {
	var all []string
	for _, f := range w.Findings(s) {
		all = append(all, f.Text)
	}
	return all
}

// Findings are all the reasons why this is not a replica as wanted; none when it is. It says
// nothing about how far behind it is.
func (w Want) Findings(s Status) []Finding {
	if !s.Answers {
		return []Finding{{Code: MariaDBDown, Text: "MariaDB does not answer: " + s.DownReason}}
	}
	var all findings
	all.add(s.Clock.Problem() != "", WrongClock, "%s", s.Clock.Problem())
	all.add(len(s.Mismatches) > 0, Settings, "%s", s.Mismatch())
	all.add(s.ServerID != w.ServerID, Settings, "server_id is %d, not %d", s.ServerID, w.ServerID)
	all.add(!s.ReadOnly, Settings, "it is not read-only")
	all.add(s.EventScheduler == "ON", Settings, "the event scheduler runs")
	for _, lossy := range ApplyLosses(s) {
		all.add(true, LossySettings, "%s", lossy)
		all.unproves(!delays(lossy))
	}
	for _, lossy := range LogLosses(s) {
		all.add(true, LossySettings, "%s", lossy)
	}
	errant := Errant(s)
	all.add(errant != "", ErrantTransactions, "it holds transactions of its own: %s", errant)
	all.unproves(errant != "")
	conn, ok := Find(s.Connections, w.Account)
	for _, other := range s.Connections {
		if ok && other.Name != conn.Name {
			all.add(true, LossySettings, "connection %q applies the changes of %s:%d too",
				other.Name, other.PrimaryHost, other.PrimaryPort)
			all.unproves(true)
		}
	}
	if !ok {
		all.add(true, ReplicationSettings, "replication is not configured")
		return all
	}
	all.add(!w.Points(conn), ReplicationSettings, "it follows %s:%d, not %s:%d", conn.PrimaryHost,
		conn.PrimaryPort, w.PrimaryHost, w.PrimaryPort)
	all.add(!conn.byGTID(), ReplicationSettings, "it replicates without GTID")
	all.add(!conn.TLS || !conn.TLSVerify, ReplicationSettings,
		"it replicates without verified TLS")
	v := Diagnose(conn)
	all.add(v.Threads != Running, v.code(), "%s", v)
	// Who starts it again may have skipped what it stopped at.
	all.unproves(v.Threads == Broken && v.Thread == "SQL")
	return all
}

func (v Verdict) code() Code {
	switch v.Threads {
	case Absent:
		return ReplicationSettings
	case Stopped, Interrupted:
		return ReplicationStopped
	case Connecting:
		return ReplicationConnecting
	case BinlogsGone:
		return BinlogsPurged
	case AccountRefused, HandshakeFailed:
		return ReplicationRefused
	case ServerIDTaken:
		return ReplicationIDTaken
	default:
		return ReplicationBroken
	}
}

// Points reports whether the connection goes to the wanted primary.
func (w Want) Points(c Connection) bool {
	return c.PrimaryHost == w.PrimaryHost && c.PrimaryPort == w.PrimaryPort
}

// Fits reports whether the connection is configured as wanted, whatever its threads do.
func (w Want) Fits(c Connection) bool {
	return w.Points(c) && c.User == w.Account && c.byGTID() && c.TLS && c.TLSVerify &&
		(c.Certificate || !w.Certificate) &&
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

// PrimaryFindings are all the reasons why this is not a primary as wanted; none when it is.
func PrimaryFindings(s Status, serverID uint32) []Finding {
	if !s.Answers {
		return []Finding{{Code: MariaDBDown, Text: "MariaDB does not answer: " + s.DownReason}}
	}
	var all findings
	all.add(s.Clock.Problem() != "", WrongClock, "%s", s.Clock.Problem())
	all.add(len(s.Mismatches) > 0, Settings, "%s", s.Mismatch())
	all.add(s.ServerID != serverID, Settings, "server_id is %d, not %d", s.ServerID, serverID)
	all.add(s.ReadOnly, Settings, "it is read-only")
	all.add(!s.LogBin, Settings, "its binary log is off")
	for _, lossy := range LogLosses(s) {
		all.add(true, LossySettings, "%s", lossy)
	}
	return all
}
