package mariadb

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// Sample reads again what of a status changes from one second to the next: it starts no process,
// and asks nothing that costs more on a server with many tables. What last has beside it stays, the
// replication connections too.
// Only a MariaDB that runs is asked: a connection would start a stopped one, through its socket
// unit.
func (h *Host) Sample(ctx context.Context, last Status) Status {
	last.Quiesced = h.quiesced()
	last.DownReason, last.AccessDenied = "", false
	live, err := resampled(ctx, h.Server.db, last.Live)
	if last.Answers = err == nil; err != nil {
		last.DownReason, last.AccessDenied = err.Error(), denied(err)
		return last
	}
	last.Live = live
	return last
}

// sampledVariables are in every version of MariaDB that is supported, and cost no walk over all
// variables.
func sampledVariables() []string {
	return slices.DeleteFunc(liveVariables(), func(name string) bool {
		return name == "max_binlog_total_size" // 11.4 and later
	})
}

func resampled(ctx context.Context, q querier, live Live) (Live, error) {
	var columns []string
	for _, name := range append(sampledVariables(), momentary()...) {
		columns = append(columns, "@@global."+name+" AS "+name)
	}
	v, err := one(ctx, q, "SELECT "+strings.Join(columns, ", "))
	if err != nil {
		return live, err
	}
	now := fromVariables(v)
	live.Version, live.ServerID, live.DomainID, live.Port = now.Version, now.ServerID, now.DomainID,
		now.Port
	live.ReadOnly, live.LogBin, live.LogSlaveUpdates, live.Strict, live.TLS = now.ReadOnly,
		now.LogBin, now.LogSlaveUpdates, now.Strict, now.TLS
	live.SyncBinlog, live.FlushLogAtTrxCommit, live.EventScheduler = now.SyncBinlog,
		now.FlushLogAtTrxCommit, now.EventScheduler
	live.BinlogExpireSeconds, live.Gtid = now.BinlogExpireSeconds, now.Gtid
	settings := maps.Clone(live.Settings)
	maps.DeleteFunc(settings, func(name, _ string) bool {
		return slices.Contains(momentary(), name)
	})
	if settings == nil {
		settings = map[string]string{}
	}
	maps.Copy(settings, settingsOf(v, momentary()))
	live.Settings = settings
	return live, nil
}

// momentary are settings by which an SQL thread that runs begins to leave changes out, and ends.
func momentary() []string {
	return []string{"slave_exec_mode", "slave_type_conversions", "slave_run_triggers_for_rbr"}
}

// Connections are the replication connections of the running server. While a STOP SLAVE waits for
// an event in flight, MariaDB does not answer this, and everything else.
func (s *Server) Connections(ctx context.Context) ([]Replication, error) {
	all, err := replications(ctx, s.db)
	if err != nil || len(all) != 1 || all[0].SQLRunning != "Yes" {
		return all, err
	}
	threads, err := query(ctx, s.db, "SELECT id FROM information_schema.processlist WHERE "+
		"command = 'Slave_SQL'")
	if err == nil && len(threads) == 1 {
		all[0].SQLThread = threads[0]["id"]
	}
	return all, err
}
