package mariadb

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Replication is one connection to a primary, as SHOW ALL SLAVES STATUS reports it.
type Replication struct {
	// Connection is its name; empty for the default one.
	Connection string
	// Host, Port and User are where and as whom it connects.
	Host string
	Port int
	User string
	// IORunning is "Yes", "No", "Connecting" or "Preparing"; SQLRunning is "Yes" or "No".
	IORunning, SQLRunning string
	// IOState and SQLState are what the threads do.
	IOState, SQLState string
	// IOErrno and SQLErrno are 0 without an error; the errors are word for word.
	IOErrno, SQLErrno int
	IOError, SQLError string
	// UsingGtid is "No", "Slave_Pos" or "Current_Pos"; GtidIOPos is the position received.
	UsingGtid, GtidIOPos string
	// Behind is Seconds_Behind_Master, nil for NULL.
	Behind *time.Duration
	// TLS and TLSVerify are about the connection to the primary; CAFile is the authority that is
	// verified against.
	TLS, TLSVerify bool
	CAFile         string
	// CertFile and KeyFile are the certificate that it signs in with; empty for a password.
	CertFile, KeyFile string
	// PrimaryServerID is the primary's server_id.
	PrimaryServerID int64
	// Settings are those by which it leaves changes out, by column of SHOW ALL SLAVES STATUS; empty
	// ones left out.
	Settings map[string]string
	// ReadFile and ReadOffset are how far it has read the primary's binary log.
	ReadFile   string
	ReadOffset int64
	// SQLThread is the number of its SQL thread in MariaDB; empty when it does not run, there is
	// more than one, or it was not asked for.
	SQLThread string
	// executed moves with the end of each event group that is applied.
	executed string
}

// Runs is true when both threads run.
func (r Replication) Runs() bool { return r.IORunning == "Yes" && r.SQLRunning == "Yes" }

// Stopped is true when neither thread runs.
func (r Replication) Stopped() bool { return r.IORunning == "No" && r.SQLRunning == "No" }

// signsInWith is true for a connection that shows the certificate of these files.
func (r Replication) signsInWith(tls TLSFiles) bool {
	return r.CertFile == tls.Cert && r.KeyFile == tls.Key
}

// replications reads all connections.
func replications(ctx context.Context, q querier) ([]Replication, error) {
	rows, err := query(ctx, q, "SHOW ALL SLAVES STATUS")
	if err != nil {
		return nil, err
	}
	all := make([]Replication, 0, len(rows))
	for _, r := range rows {
		all = append(all, replication(r))
	}
	return all, nil
}

func replication(r row) Replication {
	made := Replication{
		Connection: r["connection_name"], Host: r["master_host"],
		Port: int(r.number("master_port")), User: r["master_user"],
		IORunning: r["slave_io_running"], SQLRunning: r["slave_sql_running"],
		IOState: r["slave_io_state"], SQLState: r["slave_sql_running_state"],
		IOErrno: int(r.number("last_io_errno")), IOError: r["last_io_error"],
		SQLErrno: int(r.number("last_sql_errno")), SQLError: r["last_sql_error"],
		UsingGtid: r["using_gtid"], GtidIOPos: strings.ReplaceAll(r["gtid_io_pos"], "\n", ""),
		TLS: r.yes("master_ssl_allowed"), TLSVerify: r.yes("master_ssl_verify_server_cert"),
		CAFile:   r["master_ssl_ca_file"],
		CertFile: r["master_ssl_cert"], KeyFile: r["master_ssl_key"],
		PrimaryServerID: r.number("master_server_id"),
		Settings:        settingsOf(r, lossColumns()),
		ReadFile:        r["master_log_file"], ReadOffset: r.number("read_master_log_pos"),
		executed: r["relay_master_log_file"] + ":" + r["exec_master_log_pos"],
	}
	if text, known := r["seconds_behind_master"]; known {
		if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
			behind := time.Duration(seconds) * time.Second
			made.Behind = &behind
		}
	}
	return made
}

// defaultReplication is the connection without a name; false when it is not configured.
func defaultReplication(ctx context.Context, q querier) (Replication, bool, error) {
	all, err := replications(ctx, q)
	if err != nil {
		return Replication{}, false, err
	}
	for _, r := range all {
		if r.Connection == "" {
			return r, true, nil
		}
	}
	return Replication{}, false, nil
}

// retried is an error that the IO thread gets over by itself once the primary is back.
func retried(number int) bool {
	switch number {
	case 2002, 2003, 2005, 2006, 2013, 1040, 1053, 1129, 1159, 1158, 1160, 1161:
		return true
	}
	return false
}

// trouble is the error that keeps replication from going on by itself, or nil. A thread that only
// stands still without an error is none.
func (r Replication) trouble() error {
	if r.SQLErrno != 0 {
		return replicationError("SQL", r.SQLErrno, r.SQLError)
	}
	if r.IOErrno != 0 && !retried(r.IOErrno) && !cutOff(r.IOErrno, r.IOError) {
		return replicationError("IO", r.IOErrno, r.IOError)
	}
	return nil
}

// cutOff is a handshake that ended with its connection, on a primary that is busy or restarts:
// MariaDB tries again. What one of the two refuses has a number of OpenSSL's.
func cutOff(number int, text string) bool {
	return number == 2026 && strings.Contains(text, "error:00000000:")
}

func replicationError(thread string, number int, text string) error {
	return unsafe(errorsv1.Reason_REASON_REPLICATION_ERROR,
		fmt.Sprintf("cannot replicate: the %s thread stopped with error %d: %s", thread, number,
			text),
		hint(number, text),
		errs.Meta("errno", strconv.Itoa(number)), errs.Meta("text", text),
		errs.Meta("thread", strings.ToLower(thread)))
}

// hint says what helps against an error of replication.
func hint(number int, text string) errs.Option {
	switch number {
	case 1045, 1698, 1130, 1820, 1862, 4151:
		return errs.WithHint("create the replication account on the primary again, then configure "+
			"this replica", errs.Call("EnsureReplicationAccount"),
			errs.Call("ConfigureReplica", "force", "true"))
	case 2026:
		return errs.WithHint("give the primary a certificate of this fleet's authority for the " +
			"address that replication connects to")
	case 1236:
		return hint1236(text)
	case 1593, 4052:
		return errs.WithHint("give one of the two servers with this server_id another one, "+
			"restart it, and start replication again", errs.Call("SetConfiguration"),
			errs.Call("StartReplication"))
	case 1062, 1032, 1950:
		return errs.WithHint("rebuild the replica: its data differ", errs.Call("RebuildReplica"))
	}
	return errs.WithHint("correct the cause of MariaDB's error, then start replication again",
		errs.Call("StartReplication"))
}

func hint1236(text string) errs.Option {
	switch {
	case strings.Contains(text, "not in the master's binlog"), strings.Contains(text, "diverged"):
		return errs.WithHint("rebuild the replica: it has transactions that its primary does not "+
			"have", errs.Call("RebuildReplica"))
	case strings.Contains(text, "same server_uuid/server_id"), strings.Contains(text, "server_id"):
		return errs.WithHint("give one of the two replicas with this server_id another one",
			errs.Call("SetConfiguration"))
	}
	return errs.WithHint("rebuild the replica from a new snapshot: the primary no longer has the "+
		"binary logs that it needs", errs.Call("RebuildReplica"))
}
