package workflow_test

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func (a *agent) Status(context.Context) (st replication.Status, err error) {
	err = a.look("Status", func() error {
		a.h.replicate()
		st.BinaryVersion = a.h.binary
		d := a.h.datadirDisk()
		if d == nil || d.data == nil {
			st.DownReason = "there is no datadir"
			return nil
		}
		st.DatadirVersion, st.FilesystemUUID, st.Filesystem = d.data.version, d.uuid, d.fs
		st.FilesystemFree = 10 << 30
		if a.h.running == nil {
			st.DownReason = "it is stopped"
			return nil
		}
		a.h.fillStatus(&st)
		return nil
	})
	return st, err
}

func (h *host) fillStatus(st *replication.Status) {
	s := h.running
	d := s.disk.data
	st.Answers, st.ServerVersion, st.FilesystemUUID = true, h.binary, s.disk.uuid
	st.ServerID, st.Port, st.ReadOnly, st.LogBin = s.conf.ServerID, s.conf.Port, s.readOnly,
		s.conf.LogBin != ""
	st.StrictMode, st.SyncBinlog, st.FlushAtCommit, st.TLS = s.conf.StrictMode, 1, 1, s.conf.TLS
	st.EventScheduler, st.PositionTableIsSafe = "OFF", true
	st.BinlogPos, st.SlavePos, st.BinlogState = d.pos(), d.slavePos, d.state()
	st.CurrentPos = st.BinlogPos
	st.Replicas = h.readers
	st.OldestGTID = gtidOf(d.last, d.oldest)
	st.Connections = h.connection()
	st.Held = h.hold != nil && h.hold.open()
	if len(d.reserved) == 0 {
		st.BinlogExpire = s.conf.BinlogExpire
	}
	for _, r := range d.reserved {
		st.Reservations = append(st.Reservations, r)
	}
}

func (a *agent) SetConfiguration(_ context.Context,
	req kit.Configuration) (c kit.Configured, err error) {
	err = a.change("SetConfiguration", req.Fence, func() (bool, error) {
		req.Fence = kit.Fence{}
		c.Changed = a.h.file == nil || !reflect.DeepEqual(*a.h.file, req)
		a.h.file = &req
		return c.Changed, nil
	})
	return c, err
}

func (a *agent) PrepareDatadir(_ context.Context,
	req kit.PrepareDatadir) (p kit.PreparedDatadir, err error) {
	err = a.change("PrepareDatadir", req.Fence, func() (bool, error) {
		d := a.h.datadirDisk()
		if d.data == nil && req.Initialize {
			d.data = newDatadir(a.h.binary)
			p.Changes = append(p.Changes, "initialised")
		}
		if d.data == nil {
			return false, deny(errorsv1.Reason_REASON_DATADIR_INVALID, "there is no datadir")
		}
		if order, _ := replication.CompareSeries(d.data.version, a.h.binary); order > 0 {
			return false, deny(errorsv1.Reason_REASON_DATADIR_NEWER, "datadir %s, binary %s",
				d.data.version, a.h.binary)
		}
		if req.Copy && (d.data.foreign || d.data.conn != nil) {
			if a.h.running != nil {
				return false, deny(errorsv1.Reason_REASON_UNIT_WRONG_STATE, "MariaDB runs on it")
			}
			d.data.foreign, d.data.conn = false, nil
			p.Changes = append(p.Changes, "removed master.info")
		}
		p.DatadirVersion, p.BinaryVersion = d.data.version, a.h.binary
		return len(p.Changes) > 0, nil
	})
	return p, err
}

func (a *agent) UpgradeDatadir(_ context.Context, _ time.Duration, f kit.Fence,
	_ kit.Progress) (version string, changed bool, err error) {
	err = a.change("UpgradeDatadir", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		changed = replication.Series(s.disk.data.version) != replication.Series(a.h.binary)
		s.disk.data.version = a.h.binary
		version = a.h.binary
		return changed, nil
	})
	return version, changed, err
}

func (a *agent) ProveWritable(_ context.Context,
	f kit.Fence) (proof kit.WriteProof, err error) {
	err = a.change("ProveWritable", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		if a.h.hold != nil && a.h.hold.open() {
			return false, errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_TIMEOUT,
				"commits are blocked")
		}
		if s.disk.data.conn == nil {
			proof.GTID = s.disk.data.write(s.conf.ServerID, "understudy.proof", 1)
		}
		return true, nil
	})
	return proof, err
}

func (a *agent) ChecksumTables(_ context.Context, req kit.ChecksumTables,
	begin func(kit.ChecksumBegin), each func(kit.TableChecksum)) error {
	var list []kit.TableChecksum
	var at string
	err := a.look("ChecksumTables", func() error {
		s, err := a.up()
		if err != nil {
			return err
		}
		d := s.disk.data
		at = d.pos()
		if req.AtGTID != "" && d.slavePos != req.AtGTID {
			return deny(errorsv1.Reason_REASON_GTID_MISMATCH, "the replica is at %s", d.slavePos)
		}
		for _, table := range slices.Sorted(maps.Keys(d.tables)) {
			if len(req.Tables) == 0 || slices.Contains(req.Tables, table) {
				list = append(list, kit.TableChecksum{Table: table, Checksum: d.tables[table],
					Engine: "InnoDB", Bytes: 1000,
					DefinitionHash: "h", Consistent: !d.unstable[table]})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	begin(kit.ChecksumBegin{GTID: at, Tables: len(list), Bytes: int64(len(list)) * 1000})
	for _, t := range list {
		each(t)
	}
	return nil
}

func (a *agent) PrepareReplica(_ context.Context,
	req kit.PrepareReplica) (r kit.PreparedReplica, err error) {
	err = a.change("PrepareReplica", req.Fence, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		d := s.disk.data
		got := d.pos()
		if req.SourceReplica {
			got = d.slavePos
		}
		if req.GTIDUpper == "" && got != req.GTID || s.conf.ServerID != req.ServerID {
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

func (a *agent) ConfigureReplica(_ context.Context,
	req kit.ConfigureReplica) (changes []string, err error) {
	err = a.change("ConfigureReplica", req.Fence, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		s.disk.data.conn = &settings{host: req.PrimaryHost, port: req.PrimaryPort, user: req.User,
			password: req.Password.Reveal()}
		changes = []string{"configured"}
		return true, nil
	})
	return changes, err
}

func (a *agent) StartReplication(_ context.Context, until string, _ time.Duration,
	f kit.Fence) (conn replication.Connection, changed bool, err error) {
	name := "StartReplication"
	if until != "" {
		name = "StartUntil"
	}
	err = a.change(name, f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		d := s.disk.data
		if d.conn == nil {
			return false, deny(errorsv1.Reason_REASON_REPLICATION_NOT_CONFIGURED, "not configured")
		}
		if until != "" {
			for seqOf(d.slavePos) < seqOf(until) {
				a.h.applyFrom(a.h.primary(d).running.disk.data, 1)
			}
			return true, nil
		}
		changed = !d.conn.io || !d.conn.sql
		d.conn.io, d.conn.sql = true, d.conn.sqlErrno == 0 || d.conn.sqlErrno == 1927
		if d.conn.sql {
			d.conn.sqlErrno, d.conn.sqlError = 0, ""
		}
		conn = a.h.connection()[0]
		if v := replication.Diagnose(conn); v.Threads != replication.Running {
			return changed, deny(errorsv1.Reason_REASON_REPLICATION_ERROR, "%s", v)
		}
		return changed, nil
	})
	return conn, changed, err
}

func (a *agent) StopReplication(_ context.Context, sqlOnly bool, _ time.Duration,
	f kit.Fence) (changed bool, err error) {
	err = a.change("StopReplication", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		if c := s.disk.data.conn; c != nil {
			changed = c.sql || c.io && !sqlOnly
			c.sql = false
			c.io = c.io && sqlOnly
		}
		return changed, nil
	})
	return changed, err
}

func (a *agent) WaitForGTID(_ context.Context, gtid string, _ time.Duration,
	report func(kit.Waited)) (reached bool, err error) {
	err = a.look("WaitForGTID", func() error {
		s, err := a.up()
		if err != nil {
			return err
		}
		if v := replication.Diagnose(a.h.connection()[0]); v.Threads != replication.Running {
			return deny(errorsv1.Reason_REASON_REPLICATION_ERROR, "%s", v)
		}
		a.h.replicate()
		at := s.disk.data.slavePos
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

func (a *agent) SetReadOnly(_ context.Context, on bool,
	f kit.Fence) (changed bool, err error) {
	err = a.change("SetReadOnly", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		changed, s.readOnly = s.readOnly != on, on
		return changed, nil
	})
	return changed, err
}

func (a *agent) ReserveBinlogs(_ context.Context, id string, keep time.Duration, from string,
	f kit.Fence) (r replication.Reservation, err error) {
	err = a.change("ReserveBinlogs", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		d := s.disk.data
		if from != "" && seqOf(from) < d.oldest {
			return false, deny(errorsv1.Reason_REASON_BINLOGS_PURGED, "the binary logs begin at %d",
				d.oldest)
		}
		r = replication.Reservation{ID: id, FirstFile: "mariadb-bin.000001",
			Expires: time.Now().Add(keep)}
		d.reserved[id] = r
		return true, nil
	})
	return r, err
}

func (a *agent) ReleaseBinlogs(_ context.Context, id string,
	f kit.Fence) (changed bool, err error) {
	err = a.change("ReleaseBinlogs", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		_, changed = s.disk.data.reserved[id]
		delete(s.disk.data.reserved, id)
		return changed, nil
	})
	return changed, err
}

func (a *agent) SetBinlogExpiry(_ context.Context, after time.Duration,
	f kit.Fence) (changed bool, err error) {
	err = a.change("SetBinlogExpiry", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		changed = s.conf.BinlogExpire != after || a.h.file.BinlogExpire != after
		s.conf.BinlogExpire, a.h.file.BinlogExpire = after, after
		return changed, nil
	})
	return changed, err
}

func (a *agent) EnsureReplicationAccount(_ context.Context,
	req kit.ReplicationAccount) (changes []string, err error) {
	err = a.change("EnsureReplicationAccount", req.Fence, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		s.disk.data.accounts[req.User] = req.Password.Reveal()
		changes = []string{"password set"}
		return true, nil
	})
	return changes, err
}

func (a *agent) DeleteReplicationAccount(_ context.Context, user, _ string,
	f kit.Fence) (changed bool, err error) {
	err = a.change("DeleteReplicationAccount", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		_, changed = s.disk.data.accounts[user]
		delete(s.disk.data.accounts, user)
		return changed, nil
	})
	return changed, err
}

// simHold is a hold as its host sees it.
type simHold struct {
	testimony kit.Testimony
	opened    time.Time
	once      sync.Once
	done      chan struct{}
	why       string
}

func (h *simHold) open() bool {
	select {
	case <-h.done:
		return false
	default:
		return true
	}
}

// end ends the hold, whoever does it.
func (h *simHold) end(why string) { h.once.Do(func() { h.why = why; close(h.done) }) }

func (h *simHold) Testimony() kit.Testimony { return h.testimony }
func (h *simHold) Done() <-chan struct{}    { return h.done }
func (h *simHold) Close() error             { h.end("it was closed"); return nil }

func (h *simHold) Release(context.Context) (kit.HoldResult, error) {
	unbroken := h.open()
	h.end("released")
	return kit.HoldResult{Unbroken: unbroken, BrokenReason: h.why,
		Blocked: time.Since(h.opened), Frozen: time.Since(h.opened)}, nil
}

func (a *agent) OpenHold(ctx context.Context, req kit.OpenHold,
	_ kit.Progress) (kit.Hold, error) {
	var made *simHold
	err := a.change("OpenHold", req.Fence, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		if a.h.hold != nil && a.h.hold.open() {
			return false, errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
				"another hold is open")
		}
		d := s.disk
		d.nonce = req.Nonce
		made = &simHold{done: make(chan struct{}), opened: time.Now(),
			testimony: kit.Testimony{
				Replica: d.data.conn != nil, ServerID: s.conf.ServerID, Version: a.h.binary,
				BinlogPos: d.data.pos(), SlavePos: d.data.slavePos,
				CurrentPos: d.data.pos(), BinlogFile: "mariadb-bin.000001", FilesystemUUID: d.uuid,
				Filesystem: d.fs, Datadir: datadirPath,
				Nonce: req.Nonce, HeldAt: time.Now(),
			}}
		a.h.hold = made
		a.p.holds = append(a.p.holds, made)
		context.AfterFunc(ctx, func() { made.end("the caller went away") })
		time.AfterFunc(req.Limit, func() { made.end("the limit was reached") })
		return true, nil
	})
	if err != nil && made != nil {
		made.end("the stream broke")
	}
	if err != nil {
		return nil, err
	}
	return made, nil
}

var _ kit.Agent = (*agent)(nil)
var _ kit.Hold = (*simHold)(nil)
