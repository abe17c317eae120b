package mariadb

import (
	"context"
	"path/filepath"
	"sync"
	"time"
)

// Status is all that can be known of MariaDB at once.
type Status struct {
	// Answers is true when it answered a query in this call; DownReason says why not.
	Answers    bool
	DownReason string
	// AccessDenied is true when it refuses the agent's own account.
	AccessDenied bool
	// Binary is the installed version, DatadirVersion the one that last upgraded the datadir.
	Binary, DatadirVersion Version
	// Datadir is what the options name, Volume the filesystem that has it.
	Datadir string
	Volume  Volume
	// Options are those that MariaDB would read at its next start; secrets left out.
	Options []string
	// Reservations are those in force; Quiesced is true while MariaDB is quiesced.
	Reservations []Reservation
	Quiesced     bool
	// Certificate is what the agent installed for MariaDB.
	Certificate Certificate
	// Live is what the server itself says; empty when it does not answer.
	Live Live
}

// Live is what a server that answers says of itself.
type Live struct {
	Version                                        string
	ServerID, DomainID                             int64
	Port                                           int
	ReadOnly, LogBin, LogSlaveUpdates, Strict, TLS bool
	// TakesCertificates is true when clients can sign in with a certificate of the fleet's CA.
	TakesCertificates                    bool
	SyncBinlog, FlushLogAtTrxCommit      int64
	EventScheduler                       string
	BinlogExpireSeconds, BinlogTotalSize int64
	Gtid                                 Positions
	BinlogFile                           string
	BinlogOffset                         int64
	BinlogBytes                          int64
	OldestGtid, OldestBinlog             string
	Replication                          []Replication
	Replicas                             []ConnectedReplica
	NonTransactional, Memory             []string
	Started                              time.Time
	// Mismatches are settings of the agent's option file that the server does not run with.
	Mismatches []Mismatch
	// History is the id of the history that the binary log has; empty when it cannot be told.
	// HistoryReason is why it is another one than before, HistoryClaim what proves it.
	History, HistoryReason string
	HistoryClaim           HistoryClaim
	// Holders are the sessions that keep an applier of a replica waiting for a lock, in words.
	Holders string
	// logs are the names of the binary logs, oldest first.
	logs []string
	// Settings are those by which changes are left out or become others, as the running server has
	// them, by name; empty ones left out.
	Settings map[string]string
}

// Positions are the GTID positions that a server keeps, as it spells them.
type Positions struct{ Binlog, Slave, Current, BinlogState string }

// ConnectedReplica is a replica that reads this server's binary log.
type ConnectedReplica struct {
	ServerID   int64
	Host, User string
}

// Status reads all that can be known, also of a server that is down.
func (h *Host) Status(ctx context.Context) (Status, error) {
	began := time.Now()
	status, err := h.status(ctx)
	if err == nil {
		h.observed(status, time.Since(began))
	}
	return status, err
}

func (h *Host) status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	status := Status{Quiesced: h.quiesced()}
	options, err := h.stored(ctx, &status)
	if err != nil {
		return Status{}, err
	}
	if err := h.Server.answers(ctx); err != nil {
		status.DownReason, status.AccessDenied = err.Error(), denied(err)
		return status, nil
	}
	status.Answers = true
	live, err := h.live(ctx, status.Quiesced, options)
	if err != nil {
		return Status{}, failure("cannot read the status of MariaDB", err)
	}
	status.Live = live
	if !status.Quiesced {
		_ = h.Reservations.keepReserved(ctx) // the loop repeats it and reports
	}
	return status, nil
}

// stored reads what is known without the server, and answers with all options.
func (h *Host) stored(ctx context.Context, status *Status) ([]Option, error) {
	options, err := h.Configuration.options.read(ctx, "")
	if err != nil {
		return nil, err
	}
	status.Options = shown(options)
	status.Datadir = h.Configuration.options.datadir(options)
	// Neither is known on a host that has no MariaDB or no datadir yet, and that is a state to
	// tell, no error.
	status.Binary, _ = h.binary.recent(ctx)
	status.DatadirVersion, _ = datadirVersion(status.Datadir)
	if volume, err := h.Server.volumes.of(ctx, status.Datadir); err == nil {
		status.Volume = volume
	}
	status.Certificate = h.Server.certificate()
	status.Reservations, err = h.Reservations.InForce()
	return options, err
}

// liveVariables are the global variables in a status.
func liveVariables() []string {
	return []string{"version", "server_id", "gtid_domain_id", "port", "read_only", "log_bin",
		"log_slave_updates", "gtid_strict_mode",
		"sync_binlog", "innodb_flush_log_at_trx_commit", "event_scheduler", "have_ssl",
		"binlog_expire_logs_seconds",
		"max_binlog_total_size", "gtid_binlog_pos", "gtid_slave_pos", "gtid_current_pos",
		"gtid_binlog_state", "datadir", "ssl_ca"}
}

func (h *Host) live(ctx context.Context, quiesced bool, written []Option) (Live, error) {
	v, err := variables(ctx, h.Server.db,
		append(append(liveVariables(), lossVariables()...), "log_bin_basename")...)
	if err != nil {
		return Live{}, err
	}
	live := fromVariables(v)
	live.Settings = settingsOf(v, lossVariables())
	live.comparable(v["datadir"])
	live.TakesCertificates = live.TLS && v["ssl_ca"] == h.Server.tls.CA
	if live.Replication, err = replications(ctx, h.Server.db); err != nil {
		return Live{}, err
	}
	if err := uptime(ctx, h.Server.db, &live); err != nil {
		return Live{}, err
	}
	// The binary log's own lock may be taken by a commit that waits for the frozen filesystem.
	if quiesced {
		live.follows(h.history.known())
		live.remember(h.unheld.Load())
		return live, nil
	}
	if err := live.readZone(ctx, h.Server.db); err != nil {
		return Live{}, err
	}
	if err := readSysdate(ctx, h.Server.db, live.Settings); err != nil {
		return Live{}, err
	}
	if err := live.readPositionEngine(ctx, h.Server.db); err != nil {
		return Live{}, err
	}
	live.Mismatches, err = mismatches(ctx, h.Server.db, h.Configuration.options, written)
	if err != nil {
		return Live{}, err
	}
	if len(live.Replication) > 0 {
		live.Holders, err = holders(ctx, h.Server.db)
		if err != nil && errno(err) == 0 { // what MariaDB refuses to tell hides nothing else
			return Live{}, err
		}
	}
	if live.LogBin {
		if err := binlogFacts(ctx, h.Server.db, &live); err != nil {
			return Live{}, err
		}
		live.follows(h.history.of(live, filepath.Dir(v["log_bin_basename"])))
	}
	live.NonTransactional, live.Memory = h.slow.get(ctx, h.Server.db, live.Started)
	h.unheld.Store(&live)
	return live, nil
}

// follows takes over the history of the binary log.
func (l *Live) follows(h history) {
	l.History, l.HistoryReason, l.HistoryClaim = h.ID, h.Reason, h.claim()
}

// remember takes over what cannot be read while MariaDB is held, from the latest look of the same
// run before.
func (l *Live) remember(before *Live) {
	const slow = 2 * time.Second // the start is known by whole seconds, and an answer takes time
	if before == nil || before.Started.Sub(l.Started).Abs() > slow {
		return
	}
	l.Mismatches = before.Mismatches
	for name, value := range before.Settings {
		if _, read := l.Settings[name]; !read {
			l.Settings[name] = value
		}
	}
}

func fromVariables(v row) Live {
	return Live{
		Version: v["version"], ServerID: v.number("server_id"),
		DomainID: v.number("gtid_domain_id"),
		Port:     int(v.number("port")), ReadOnly: v.yes("read_only") || v["read_only"] != "" &&
			v["read_only"] != "OFF" && v["read_only"] != "0",
		LogBin: v.yes("log_bin"), LogSlaveUpdates: v.yes("log_slave_updates"),
		Strict: v.yes("gtid_strict_mode"), TLS: v.yes("have_ssl"),
		SyncBinlog:          v.number("sync_binlog"),
		FlushLogAtTrxCommit: v.number("innodb_flush_log_at_trx_commit"),
		EventScheduler:      v["event_scheduler"],
		BinlogExpireSeconds: v.number("binlog_expire_logs_seconds"),
		BinlogTotalSize:     v.number("max_binlog_total_size"), Gtid: positions(v),
	}
}

func positions(v row) Positions {
	return Positions{Binlog: v["gtid_binlog_pos"], Slave: v["gtid_slave_pos"],
		Current:     v["gtid_current_pos"],
		BinlogState: v["gtid_binlog_state"]}
}

func uptime(ctx context.Context, q querier, live *Live) error {
	r, err := one(ctx, q, "SHOW GLOBAL STATUS LIKE 'Uptime'")
	if err != nil {
		return err
	}
	live.Started = time.Now().Add(-time.Duration(r.number("value")) * time.Second).Truncate(
		time.Second)
	return nil
}

func binlogFacts(ctx context.Context, q querier, live *Live) error {
	at, err := one(ctx, q, "SHOW MASTER STATUS")
	if err != nil {
		return err
	}
	live.BinlogFile, live.BinlogOffset = at["file"], at.number("position")
	live.binlogFilters(at)
	logs, err := binlogNames(ctx, q)
	if err != nil {
		return err
	}
	for _, log := range logs {
		live.BinlogBytes += log.SizeBytes
	}
	for _, log := range present(logs) {
		live.logs = append(live.logs, log.File)
	}
	if err := live.oldestLog(ctx, q); err != nil {
		return err
	}
	live.Replicas, err = connectedReplicas(ctx, q)
	return err
}

// oldestLog finds where the binary logs begin: nowhere when the current one alone is left, and its
// file is gone.
func (l *Live) oldestLog(ctx context.Context, q querier) (err error) {
	if len(l.logs) == 0 {
		return nil
	}
	l.OldestBinlog = l.logs[0]
	l.OldestGtid, err = startOf(ctx, q, l.OldestBinlog)
	if errno(err) == errFileNotFound && l.OldestBinlog == l.BinlogFile {
		l.logs, l.OldestBinlog = nil, ""
		return nil
	}
	return err
}

// connectedReplicas are the replicas that registered and read the binary log now.
func connectedReplicas(ctx context.Context, q querier) ([]ConnectedReplica, error) {
	hosts, err := query(ctx, q, "SHOW SLAVE HOSTS")
	if err != nil {
		return nil, err
	}
	dumps, err := query(ctx, q, "SELECT user, SUBSTRING_INDEX(host, ':', 1) AS host FROM "+
		"information_schema.processlist WHERE command = 'Binlog Dump'")
	if err != nil {
		return nil, err
	}
	all := make([]ConnectedReplica, 0, len(hosts))
	for _, h := range hosts {
		c := ConnectedReplica{ServerID: h.number("server_id"), Host: h["host"]}
		for _, d := range dumps {
			if len(dumps) == 1 || c.Host != "" && d["host"] == c.Host {
				c.User = d["user"]
				if c.Host == "" {
					c.Host = d["host"]
				}
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// slowFacts are facts that cost a walk over all tables: read once in a while.
type slowFacts struct {
	mu               sync.Mutex
	read             time.Time
	started          time.Time
	nonTransactional []string
	memory           []string
}

const slowFactsAge = time.Minute

func (f *slowFacts) get(ctx context.Context, q querier,
	started time.Time) (loosely, memory []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.read) < slowFactsAge && started.Sub(f.started).Abs() < 2*time.Second {
		return f.nonTransactional, f.memory
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	nonTransactional, memory, err := tornTables(ctx, q)
	if err != nil {
		return f.nonTransactional, f.memory // known again when there is time
	}
	f.read, f.started = time.Now(), started
	f.nonTransactional, f.memory = nonTransactional, memory
	return f.nonTransactional, f.memory
}
