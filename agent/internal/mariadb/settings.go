package mariadb

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-db/understudy/proto/consistentpoint"
)

// relayLog is the fixed base name of relay logs: MariaDB's own choice depends on the host and the
// pid file.
const relayLog = "understudy-relay-bin"

// Settings are the whole of the agent's option file; what is left out is not set.
type Settings struct {
	// ServerID and DomainID are server_id and gtid_domain_id.
	ServerID, DomainID int64
	// ReadOnly, SkipReplicaStart, EventScheduler, LogSlaveUpdates and Strict are the options of
	// these names.
	ReadOnly, SkipReplicaStart, EventScheduler, LogSlaveUpdates, Strict bool
	// Bind is bind_address, Port is 3306 when 0.
	Bind string
	Port int
	// LogBin is the base name of the binary log; empty turns it off.
	LogBin string
	// TLS uses the certificate that the agent got for MariaDB.
	TLS bool
	// ReportHost is the name that this server reports to its primary.
	ReportHost string
	// Durable makes sync_binlog and innodb_flush_log_at_trx_commit 1.
	Durable bool
	// BinlogExpireSeconds is binlog_expire_logs_seconds; 0 keeps binary logs for ever.
	BinlogExpireSeconds int64
	// Extra are further options of an allow-list.
	Extra map[string]string
	// Contract is of the datadir, where it is a copy; nil has no options.
	Contract *consistentpoint.Contract
}

// render is the option file. The order is fixed, so that equal settings are equal files.
func (s Settings) render(tls TLSFiles, tmpdir string) []byte {
	var b strings.Builder
	b.WriteString("# Written by understudy-agent (MariaDBService.SetConfiguration). Changes made " +
		"by hand are overwritten.\n" + group + "\n")
	for _, o := range s.options(tls, tmpdir) {
		fmt.Fprintln(&b, o.line())
	}
	return []byte(b.String())
}

func (s Settings) options(tls TLSFiles, tmpdir string) []Option {
	all := []Option{
		set("server_id", s.ServerID), set("gtid_domain_id", s.DomainID),
		flag("read_only", s.ReadOnly), flag("skip_slave_start", s.SkipReplicaStart),
		flag("event_scheduler", s.EventScheduler), flag("silent_startup", false),
		set("bind_address", s.Bind), set("port", s.port()),
	}
	all = append(all, s.binlogOptions()...)
	if s.ReadOnly {
		all = append(all, set("init_file", initPath(tls)))
		all = append(all, s.ofReplica()...)
	}
	if s.ReportHost != "" {
		all = append(all, set("report_host", s.ReportHost), set("report_port", s.port()))
	}
	if s.TLS {
		all = append(all, set("ssl_ca", tls.CA), set("ssl_cert", tls.Cert), set("ssl_key", tls.Key))
	}
	if tmpdir != "" {
		all = append(all, set("tmpdir", tmpdir))
	}
	all = append(all, contractSettings(s.Contract, s.Extra)...)
	for _, name := range slices.Sorted(maps.Keys(s.Extra)) {
		all = append(all, set(normal(name), s.Extra[name]))
	}
	return all
}

// primaryAway is after how long without a heartbeat, of which there is one each 5 s, a replica
// takes its connection for lost. With an hour, as old option files have it, it would say for an
// hour that it reads.
const primaryAway = 30

// ofReplica are options that a primary may have in another way.
func (s Settings) ofReplica() []Option {
	all := []Option{set("secure_timestamp", "NO")}
	if _, given := s.Extra["slave_net_timeout"]; !given {
		all = append(all, set("slave_net_timeout", primaryAway))
	}
	return all
}

func (s Settings) binlogOptions() []Option {
	all := []Option{set("relay_log", relayLog), set("relay_log_index", relayLog+".index"),
		flag("relay_log_recovery", true),
		flag("gtid_strict_mode", s.Strict),
		set("binlog_expire_logs_seconds", s.BinlogExpireSeconds)}
	all = append(all, lossless()...)
	if s.LogBin == "" {
		all = append(all, Option{Name: "skip_log_bin"})
	} else {
		all = append(all, set("log_bin", s.LogBin), set("log_bin_index", s.LogBin+".index"),
			flag("log_slave_updates", s.LogSlaveUpdates))
	}
	if s.Durable {
		all = append(all, set("sync_binlog", 1), set("innodb_flush_log_at_trx_commit", 1))
	}
	return all
}

func (s Settings) port() int { return cmp.Or(s.Port, 3306) }

func set(name string, value any) Option {
	return Option{Name: name, Value: fmt.Sprint(value), Set: true}
}

func flag(name string, on bool) Option {
	if on {
		return set(name, "ON")
	}
	return set(name, "OFF")
}

var (
	hostPattern = regexp.MustCompile(
		`^[A-Za-z0-9]([A-Za-z0-9._:-]{0,253}[A-Za-z0-9])?$|^::$|^\*$`)
	basenamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	valuePattern    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.,:+-]{0,199}$`)
)

// Check names each setting that cannot be written, by its field, and why.
func (s Settings) Check(say func(field, why string)) {
	if !hostPattern.MatchString(s.Bind) {
		say("bind_address", "must be one address or host name")
	}
	if s.ReportHost != "" && (!hostPattern.MatchString(s.ReportHost) || len(s.ReportHost) > 60) {
		say("report_host", "must be one address or host name of at most 60 characters")
	}
	if s.LogBin != "" && (!basenamePattern.MatchString(s.LogBin) || s.LogBin == relayLog) {
		say("log_bin", "must be a base name of letters, digits, dashes and underscores, without "+
			"a directory")
	}
	if s.LogBin == "" && s.LogSlaveUpdates {
		say("log_slave_updates", "needs the binary log: set log_bin")
	}
	CheckContract(s.Contract, say)
	s.checkExtra(say)
}

func (s Settings) checkExtra(say func(field, why string)) {
	for _, name := range slices.Sorted(maps.Keys(s.Extra)) {
		field := "options[" + strconv.Quote(name) + "]"
		if len(field) > 80 {
			field = "options"
		}
		switch {
		case !slices.Contains(AllowedOptions(), normal(name)):
			say(field, "is not on the allow-list of options")
		case !valuePattern.MatchString(s.Extra[name]):
			say(field, "has a value with characters that no allowed option needs")
		}
	}
}

// AllowedOptions are the names that Settings.Extra may have: options that tune, and change neither
// what is logged nor who may enter.
func AllowedOptions() []string {
	return []string{
		"back_log", "binlog_checksum", "binlog_format", "binlog_row_image",
		"bulk_insert_buffer_size", "character_set_server",
		"collation_server", "connect_timeout", "innodb_buffer_pool_size", "innodb_flush_method",
		"innodb_io_capacity",
		"innodb_io_capacity_max", "innodb_lock_wait_timeout", "innodb_log_buffer_size",
		"innodb_log_file_size", "innodb_read_io_threads",
		"innodb_write_io_threads", "interactive_timeout", "join_buffer_size", "key_buffer_size",
		"aria_pagecache_buffer_size", "log_warnings",
		"long_query_time", "max_allowed_packet", "max_binlog_size", "max_binlog_total_size",
		"max_connect_errors", "max_connections",
		"max_heap_table_size", "net_read_timeout", "net_write_timeout", "open_files_limit",
		"performance_schema", "query_cache_size",
		"query_cache_type", "read_buffer_size", "read_rnd_buffer_size", "skip_name_resolve",
		"slave_compressed_protocol",
		"slave_max_allowed_packet", "slave_net_timeout", "slave_parallel_max_queued",
		"slave_parallel_mode", "slave_parallel_threads",
		"slow_query_log", "sort_buffer_size", "table_definition_cache", "table_open_cache",
		"table_open_cache_instances",
		"thread_cache_size", "thread_handling", "tmp_table_size", "transaction_isolation",
		"wait_timeout",
	}
}
