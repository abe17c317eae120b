package workflowtest

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func (a *agent) PrepareReplica(ctx context.Context,
	req kit.PrepareReplica) (r kit.PreparedReplica, err error) {
	err = a.change(ctx, "PrepareReplica", req.Token, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		d := s.Disk.Data
		got := d.Pos()
		if req.SourceReplica {
			got = d.slavePos
		}
		if req.GTIDUpper == "" && got != req.GTID || s.Conf.ServerID != req.ServerID {
			return false, deny(errorsv1.Reason_REASON_GTID_MISMATCH, "recovered %q, expected %q",
				got, req.GTID)
		}
		changed := d.slavePos != got
		d.slavePos, r.RecoveredGTID = got, got
		if changed {
			r.Changes = []string{"set gtid_slave_pos"}
		}
		return changed, nil
	})
	return r, err
}

func (a *agent) ConfigureReplica(ctx context.Context,
	req kit.ConfigureReplica) (changes []string, err error) {
	err = a.change(ctx, "ConfigureReplica", req.Token, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		s.Disk.Data.Conn = &Settings{host: req.PrimaryHost, port: req.PrimaryPort, user: req.User,
			password: req.Password.Reveal()}
		if req.Certificate {
			s.Disk.Data.Conn.certificate = true
		}
		changes = []string{"configured"}
		return true, nil
	})
	return changes, err
}

// certificateOf is what a server's MariaDB shows in place of a password.
func certificateOf(server, generation string) string {
	return "certificate of " + server + " " + generation
}

// Certificate is what the host's MariaDB shows now.
func (h *Host) Certificate() string { return certificateOf(h.name, h.generation()) }

// generation is that of its certificate: each renewal for a job is a rotation.
func (h *Host) generation() string { return fmt.Sprintf("%016x", len(h.Renewals)) }

// credentials are what the host signs in with now.
func (c *Settings) credentials(h *Host) string {
	if c.certificate {
		return h.Certificate()
	}
	return c.password
}

// refused says whether an account with that demand refuses the host. A connection stays that began
// with what the account demanded then.
func (c *Settings) refused(h *Host, demands string) bool {
	if now := c.credentials(h); now == demands {
		c.signedIn = now
	}
	return c.signedIn != demands
}

func (a *agent) ReconnectReplica(ctx context.Context, timeout time.Duration,
	f kit.FencingToken) (changed bool, err error) {
	var served time.Time
	err = a.change(ctx, "ReconnectReplica", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		c := s.Disk.Data.Conn
		if c == nil {
			return false, deny(errorsv1.Reason_REASON_REPLICATION_NOT_CONFIGURED, "not configured")
		}
		if changed = c.IO && c.showed != a.h.Certificate(); changed {
			c.signedIn, c.showed = c.credentials(a.h), a.h.Certificate()
			c.began = time.Now()
			a.h.Reconnects++
		}
		served = c.began.Add(a.h.Far)
		return changed, nil
	})
	if err == nil {
		err = a.awaitServed(ctx, time.Until(served), timeout)
	}
	return changed, err
}

func (a *agent) StartReplication(ctx context.Context, until string, timeout time.Duration,
	f kit.FencingToken) (conn replication.Connection, changed bool, err error) {
	var served time.Time
	name := "StartReplication"
	if until != "" {
		name = "StartUntil"
	}
	err = a.change(ctx, name, f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		d := s.Disk.Data
		if d.Conn == nil {
			return false, deny(errorsv1.Reason_REASON_REPLICATION_NOT_CONFIGURED, "not configured")
		}
		if until != "" {
			for seqOf(d.slavePos) < seqOf(until) {
				a.h.applyFrom(a.h.primary(d).Running.Disk.Data, 1)
			}
			d.Conn.IO, d.Conn.SQL = false, false
			return true, nil
		}
		changed = !d.Conn.IO || !d.Conn.SQL
		if !d.Conn.IO {
			d.Conn.began = time.Now()
		}
		d.Conn.IO, d.Conn.SQL = true, d.Conn.SQLErrno == 0 || d.Conn.SQLErrno == 1927
		if d.Conn.SQL {
			d.Conn.SQLErrno, d.Conn.SQLError = 0, ""
		}
		conn, served = a.h.Connection()[0], d.Conn.began.Add(a.h.Far)
		if conn.IORunning == "Preparing" {
			return changed, nil
		}
		if v := replication.Diagnose(conn); v.Threads != replication.Running {
			return changed, deny(errorsv1.Reason_REASON_REPLICATION_ERROR, "%s", v)
		}
		return changed, nil
	})
	if err == nil && conn.IORunning == "Preparing" {
		err = a.awaitServed(ctx, time.Until(served), timeout)
	}
	return conn, changed, err
}

func (a *agent) awaitServed(ctx context.Context, takes, timeout time.Duration) error {
	if err := loop.Pause(ctx, min(takes, timeout)); err != nil {
		return err
	}
	if takes > timeout {
		return errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_TIMEOUT,
			"cannot start replication within "+timeout.String())
	}
	return nil
}

func (a *agent) StopReplication(ctx context.Context, sqlOnly bool, _ time.Duration,
	f kit.FencingToken) (changed bool, err error) {
	err = a.change(ctx, "StopReplication", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		if c := s.Disk.Data.Conn; c != nil {
			changed = c.SQL || c.IO && !sqlOnly
			c.SQL = false
			c.IO = c.IO && sqlOnly
		}
		return changed, nil
	})
	return changed, err
}

func (a *agent) WaitForGTID(ctx context.Context, gtid string, _ time.Duration,
	report func(kit.Waited)) (reached bool, err error) {
	err = a.look(ctx, "WaitForGTID", func() error {
		s, err := a.up()
		if err != nil {
			return err
		}
		if v := replication.Diagnose(a.h.Connection()[0]); v.Threads != replication.Running {
			return deny(errorsv1.Reason_REASON_REPLICATION_ERROR, "%s", v)
		}
		a.h.replicate()
		at := s.Disk.Data.slavePos
		reached = seqOf(at) >= seqOf(gtid)
		report(kit.Waited{Current: at, Remaining: int64(seqOf(gtid)) - int64(seqOf(at))})
		if !reached {
			return errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_GTID_NOT_REACHED,
				"not reached in time")
		}
		return nil
	})
	return reached, err
}

func (a *agent) SetReadOnly(ctx context.Context, on bool,
	f kit.FencingToken) (changed bool, err error) {
	err = a.change(ctx, "SetReadOnly", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		changed, s.ReadOnly = s.ReadOnly != on, on
		return changed, nil
	})
	return changed, err
}

func (a *agent) ReserveBinlogs(ctx context.Context, id string, keep time.Duration, from string,
	f kit.FencingToken) (r replication.Reservation, err error) {
	err = a.change(ctx, "ReserveBinlogs", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		d := s.Disk.Data
		if from != "" && seqOf(from) < d.Oldest {
			return false, deny(errorsv1.Reason_REASON_BINLOGS_PURGED, "the binary logs begin at %d",
				d.Oldest)
		}
		r = replication.Reservation{ID: id, FirstFile: "mariadb-bin.000001",
			Expires: time.Now().Add(keep)}
		d.Reserved[id] = r
		return true, nil
	})
	return r, err
}

func (a *agent) ReleaseBinlogs(ctx context.Context, id string,
	f kit.FencingToken) (changed bool, err error) {
	err = a.change(ctx, "ReleaseBinlogs", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		_, changed = s.Disk.Data.Reserved[id]
		delete(s.Disk.Data.Reserved, id)
		return changed, nil
	})
	return changed, err
}

// binlogSize is how many transactions a binary log has.
const binlogSize = 10

func binlogOf(seq uint64) string { return fmt.Sprintf("mariadb-bin.%06d", 1+seq/binlogSize) }

func (a *agent) ListBinlogs(ctx context.Context) (logs []replication.Binlog, err error) {
	err = a.look(ctx, "ListBinlogs", func() error {
		s, err := a.up()
		if err != nil {
			return err
		}
		d := s.Disk.Data
		for seq := d.Oldest / binlogSize * binlogSize; seq <= d.seq; seq += binlogSize {
			b := replication.Binlog{File: binlogOf(seq), Bytes: 1 << 20}
			if seq > 0 {
				b.Start = gtidOf(d.last, seq)
			}
			for id := range d.Reserved {
				b.Reserved = append(b.Reserved, "reservation "+id)
			}
			logs = append(logs, b)
		}
		return nil
	})
	return logs, err
}

func (a *agent) PurgeBinlogs(ctx context.Context, to string,
	f kit.FencingToken) (purged []string, err error) {
	err = a.change(ctx, "PurgeBinlogs", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		d := s.Disk.Data
		for seq := d.Oldest / binlogSize * binlogSize; binlogOf(seq) < to; seq += binlogSize {
			purged = append(purged, binlogOf(seq))
			d.Oldest = seq + binlogSize
		}
		return len(purged) > 0, nil
	})
	return purged, err
}

func (a *agent) SetBinlogExpiry(ctx context.Context, after time.Duration,
	f kit.FencingToken) (changed bool, err error) {
	err = a.change(ctx, "SetBinlogExpiry", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		changed = s.Conf.BinlogExpire != after || a.h.File.BinlogExpire != after
		s.Conf.BinlogExpire, a.h.File.BinlogExpire = after, after
		return changed, nil
	})
	return changed, err
}

func (a *agent) EnsureReplicationAccount(ctx context.Context,
	req kit.ReplicationAccount) (changes []string, err error) {
	err = a.change(ctx, "EnsureReplicationAccount", req.Token, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		s.Disk.Data.Accounts[req.User] = req.Password.Reveal()
		if had := s.Disk.Data.ComeFrom[req.User]; had != "" && had != req.Host {
			s.Disk.Data.Others[req.User] = had
		}
		if !req.KeepOthers {
			delete(s.Disk.Data.Others, req.User)
		}
		s.Disk.Data.ComeFrom[req.User] = req.Host
		if req.EndSessions {
			a.h.Ended = append(a.h.Ended, req.User)
		}
		changes = []string{"password set"}
		if req.Server != "" {
			s.Disk.Data.Accounts[req.User] = certificateOf(req.Server, req.Generation)
			changes = []string{"demands the certificate of " + req.Server}
		}
		return true, nil
	})
	return changes, err
}

func (a *agent) DeleteReplicationAccount(ctx context.Context, user, _ string,
	f kit.FencingToken) (changed bool, err error) {
	err = a.change(ctx, "DeleteReplicationAccount", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		_, changed = s.Disk.Data.Accounts[user]
		delete(s.Disk.Data.Accounts, user)
		return changed, nil
	})
	return changed, err
}
