package workflowtest

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func (a *agent) Status(ctx context.Context) (st replication.Status, err error) {
	err = a.look(ctx, "Status", func() error {
		a.h.replicate()
		st.BinaryVersion = a.h.Binary
		d := a.h.DatadirDisk()
		if d == nil || d.Data == nil {
			st.DownReason = "there is no datadir"
			return nil
		}
		st.DatadirVersion, st.FilesystemUUID, st.Filesystem = d.Data.version, d.UUID, d.fs
		st.FilesystemFree = 10 << 30
		if a.h.Running == nil || a.h.Hold.offline() {
			st.DownReason = "it is stopped"
			return nil
		}
		a.h.fillStatus(&st)
		return nil
	})
	return st, err
}

func (h *Host) fillStatus(st *replication.Status) {
	s := h.Running
	d := s.Disk.Data
	st.Answers, st.ServerVersion, st.FilesystemUUID = true, h.Binary, s.Disk.UUID
	st.ServerID, st.Port, st.ReadOnly, st.LogBin = s.Conf.ServerID, s.Conf.Port, s.ReadOnly,
		s.Conf.LogBin != ""
	st.Started, st.Settings = s.started, h.Losses
	h.history(st)
	st.LogUpdates, st.BinlogFile = s.Conf.LogUpdates, "mariadb-bin.000001"
	st.StrictMode, st.SyncBinlog, st.FlushAtCommit, st.TLS = s.Conf.StrictMode, 1, 1, s.Conf.TLS
	st.EventScheduler = "OFF"
	if !h.Passwords {
		st.TakesCertificates, st.TakesGenerations = true, true
		st.Certificate = replication.Certificate{Server: h.name, Generation: h.generation(),
			Expires: h.w.now().Add(30 * 24 * time.Hour)}
	}
	st.BinlogPos, st.SlavePos, st.BinlogState = d.Pos(), d.slavePos, d.state()
	st.CurrentPos = st.BinlogPos
	st.Replicas = h.Readers
	st.OldestGTID = gtidOf(d.last, d.Oldest)
	st.Connections = h.Connection()
	st.Held = h.Hold != nil && h.Hold.Open()
	if len(d.Reserved) == 0 {
		st.BinlogExpire = s.Conf.BinlogExpire
	}
	for _, r := range d.Reserved {
		st.Reservations = append(st.Reservations, r)
	}
}

func (a *agent) SetConfiguration(ctx context.Context,
	req kit.Configuration) (c kit.Configured, err error) {
	err = a.change(ctx, "SetConfiguration", req.Token, func() (bool, error) {
		req.Token = kit.FencingToken{}
		c.Changed = a.h.File == nil || !reflect.DeepEqual(*a.h.File, req)
		a.h.File = &req
		return c.Changed, nil
	})
	return c, err
}

func (a *agent) CheckDatadir(ctx context.Context) (c *consistentpoint.Contract, err error) {
	err = a.look(ctx, "CheckDatadir", func() error {
		if a.h.Elsewhere != "" {
			return deny(errorsv1.Reason_REASON_FILES_ELSEWHERE, "%s", a.h.Elsewhere)
		}
		c = &a.h.Contract
		return nil
	})
	return c, err
}

func (a *agent) PrepareDatadir(ctx context.Context,
	req kit.PrepareDatadir) (p kit.PreparedDatadir, err error) {
	err = a.change(ctx, "PrepareDatadir", req.Token, func() (bool, error) {
		d := a.h.DatadirDisk()
		if d.Data == nil && req.Initialize {
			d.Data = newDatadir(a.h.Binary)
			p.Changes = append(p.Changes, "initialised")
		}
		if d.Data == nil {
			return false, deny(errorsv1.Reason_REASON_DATADIR_INVALID, "there is no datadir")
		}
		if order, _ := replication.CompareSeries(d.Data.version, a.h.Binary); order > 0 {
			return false, deny(errorsv1.Reason_REASON_DATADIR_NEWER, "datadir %s, binary %s",
				d.Data.version, a.h.Binary)
		}
		if c := req.Contract; c != nil && !slices.Equal(c.Libraries, a.h.Libraries) {
			return false, deny(errorsv1.Reason_REASON_HOST_UNFIT, "it lacks plugin %s", c.Libraries)
		}
		if req.Copy && (d.Data.Foreign || d.Data.Conn != nil) {
			if a.h.Running != nil {
				return false, deny(errorsv1.Reason_REASON_UNIT_WRONG_STATE, "MariaDB runs on it")
			}
			d.Data.Foreign, d.Data.Conn = false, nil
			p.Changes = append(p.Changes, "removed master.info")
		}
		p.DatadirVersion, p.BinaryVersion = d.Data.version, a.h.Binary
		return len(p.Changes) > 0, nil
	})
	return p, err
}

func (a *agent) UpgradeDatadir(ctx context.Context, _ time.Duration, f kit.FencingToken,
	_ kit.Progress) (version string, changed bool, err error) {
	err = a.change(ctx, "UpgradeDatadir", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		changed = replication.Series(s.Disk.Data.version) != replication.Series(a.h.Binary)
		s.Disk.Data.version = a.h.Binary
		version = a.h.Binary
		return changed, nil
	})
	return version, changed, err
}

func (a *agent) ProveWritable(ctx context.Context,
	f kit.FencingToken) (proof kit.WriteProof, err error) {
	err = a.change(ctx, "ProveWritable", f, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		if a.h.Hold != nil && a.h.Hold.Open() {
			return false, errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_TIMEOUT,
				"commits are blocked")
		}
		if s.Disk.Data.Conn == nil {
			proof.GTID = s.Disk.Data.Write(s.Conf.ServerID, "understudy.proof", 1)
		}
		return true, nil
	})
	return proof, err
}

// Huge is a table that fits into no sample.
const Huge = "shop.huge"

func (a *agent) ChecksumTables(ctx context.Context, req kit.ChecksumTables,
	begin func(kit.ChecksumBegin), each func(kit.TableChecksum)) error {
	var list []kit.TableChecksum
	var at string
	err := a.look(ctx, "ChecksumTables", func() error {
		s, err := a.up()
		if err != nil {
			return err
		}
		d := s.Disk.Data
		at = d.Pos()
		if req.AtGTID != "" && d.slavePos != req.AtGTID {
			return deny(errorsv1.Reason_REASON_GTID_MISMATCH, "the replica is at %s", d.slavePos)
		}
		for _, table := range slices.Sorted(maps.Keys(d.Tables)) {
			switch {
			case d.Renames[table] != "" && req.AtGTID == "":
				d.rename(table)
				list = append(list, kit.TableChecksum{Table: table, Missing: true})
			case d.Remade[table] && req.AtGTID == "":
				delete(d.Remade, table)
				d.created = map[string]string{table: "made again"}
				list = append(list, kit.TableChecksum{Table: table, Engine: "InnoDB",
					DefinitionHash: "h", Consistent: true})
			case req.SampleBytes > 0 && table == Huge:
				list = append(list, kit.TableChecksum{Table: table, Bytes: 1 << 40,
					LeftOut: "it is larger than what is left of the sample"})
			case len(req.Tables) == 0 || slices.Contains(req.Tables, table):
				list = append(list, kit.TableChecksum{Table: table, Checksum: d.Tables[table],
					Engine: "InnoDB", Bytes: 1000, Problem: d.Problems[table],
					DefinitionHash: "h", Consistent: !d.Restless[table]})
				if d.Restless[table] {
					d.Tables[table]++
				}
			}
		}
		for table := range d.Renames {
			d.rename(table)
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

func (a *agent) Inventory(ctx context.Context, names []string, each func(kit.Object)) (int,
	error) {
	var all []kit.Object
	err := a.look(ctx, "Inventory", func() error {
		s, err := a.up()
		if err != nil {
			return err
		}
		d := s.Disk.Data
		for table := range d.Tables {
			all = append(all, kit.Object{Kind: "table", Name: table, Digest: "h"})
		}
		all = slices.AppendSeq(all, maps.Values(d.Objects))
		return nil
	})
	for _, o := range all {
		if len(names) == 0 || slices.Contains(names, o.Name) {
			each(o)
		}
	}
	return a.h.Digests, err
}

func (a *agent) Tables(ctx context.Context) (all []kit.Table, err error) {
	err = a.look(ctx, "Tables", func() error {
		s, err := a.up()
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(s.Disk.Data.Tables)) {
			all = append(all, kit.Table{Name: name, Rows: 1,
				Created: s.Disk.Data.created[name]})
		}
		return nil
	})
	return all, err
}

func (a *agent) ChecksumRows(ctx context.Context, req kit.ChecksumRows) (sums kit.RowSums,
	err error) {
	err = a.look(ctx, "ChecksumRows", func() error {
		s, err := a.up()
		if err != nil {
			return err
		}
		d := s.Disk.Data
		sums = kit.RowSums{GTID: d.Pos(), Sums: []kit.RowSum{{Rows: 1,
			Sum: strconv.FormatUint(d.Tables[req.Table], 10)}}}
		return nil
	})
	return sums, err
}

var _ kit.Agent = (*agent)(nil)
