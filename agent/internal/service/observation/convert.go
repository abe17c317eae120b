package observation

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/agent/internal/marks"
	"github.com/understudy-db/understudy/agent/internal/observe"
	mariadbservice "github.com/understudy-db/understudy/agent/internal/service/mariadb"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// maxText bounds each text of the facts: a control plane keeps them of thousands of hosts.
const maxText = 1 << 10

func toFacts(o observe.Observation) *agentv1.HostFacts {
	facts := &agentv1.HostFacts{Mariadb: mariadbservice.StatusToProto(o.Status),
		Unit: &agentv1.UnitFacts{ActiveState: o.Unit.Active, SubState: o.Unit.Sub,
			Result: o.Unit.Result, ExitStatus: int32(o.Unit.ExitStatus)},
		Volume: &agentv1.VolumeFacts{ReadOnly: o.Volume.ReadOnly, WriteError: o.Volume.WriteError,
			Full: o.Volume.Full, DeviceGone: o.Volume.DeviceGone},
		ReplicationPausedBy: o.PausedBy, Starting: o.Starting}
	if o.Marks.ID != "" {
		facts.Marks = toMarks(o.Marks)
	}
	for _, line := range o.Errors {
		facts.Unit.Errors = append(facts.Unit.Errors, cut(line))
	}
	if o.Volume.Fault != "" {
		facts.Volume.WriteError = o.Volume.Fault
	}
	for _, name := range slices.Sorted(maps.Keys(o.Hung)) {
		facts.Hung = append(facts.Hung, &agentv1.HungProbe{Probe: name,
			Since: timestamppb.New(o.Hung[name].Since), Reason: cut(o.Hung[name].Reason)})
	}
	still(facts.GetMariadb(), o)
	return facts
}

func toMarks(r marks.Record) *agentv1.ReplicationMarks {
	made := &agentv1.ReplicationMarks{RecordId: r.ID, LastNumber: r.Last}
	for _, m := range r.Marks {
		made.Marks = append(made.Marks, &agentv1.ReplicationMark{Number: m.Number,
			Text: cut(m.Text), Time: timestamppb.New(m.At), LostRows: m.LostRows()})
	}
	return made
}

// still leaves out what moves all the time, and what is long.
func still(m *agentv1.MariaDBStatus, o observe.Observation) {
	m.Gtid, m.BinlogFile, m.BinlogOffset, m.BinlogBytes = nil, "", 0, 0
	m.OldestBinlog, m.OldestGtid, m.HistoryClaim = "", "", nil
	m.BinlogHistoryReason = cut(m.GetBinlogHistoryReason())
	m.FilesystemUsedBytes, m.FilesystemFreeBytes = 0, 0
	m.Options, m.NonTransactionalTables = nil, nil
	m.DownReason, m.LockHolders = cut(m.GetDownReason()), ""
	if o.Volume.Mount != "" {
		m.FilesystemMount, m.Filesystem = o.Volume.Mount, o.Volume.Type
		if o.Status.Volume.IsOther(o.Volume.Number, o.Volume.MountID) {
			m.FilesystemUuid = "" // of another one; a full observation reads it again
		}
	}
	for _, c := range m.GetReplication() {
		c.IoState, c.SqlState, c.GtidIoPos, c.SecondsBehind = "", "", "", nil
		c.ReadFile, c.ReadOffset = "", 0
		c.IoError, c.SqlError = cut(c.GetIoError()), cut(c.GetSqlError())
	}
}

func progressOf(o observe.Observation) *agentv1.HostProgress {
	m := mariadbservice.StatusToProto(o.Status)
	p := &agentv1.HostProgress{Gtid: m.GetGtid(), BinlogFile: m.GetBinlogFile(),
		BinlogOffset: m.GetBinlogOffset(), BinlogBytes: m.GetBinlogBytes(),
		OldestBinlog: m.GetOldestBinlog(), OldestGtid: m.GetOldestGtid(),
		FilesystemUsedBytes: o.Volume.UsedBytes, FilesystemFreeBytes: o.Volume.FreeBytes,
		HistoryClaim: m.GetHistoryClaim(), LockHolders: new(cut(m.GetLockHolders()))}
	for _, c := range m.GetReplication() {
		p.Connections = append(p.Connections, &agentv1.ConnectionProgress{IoState: c.GetIoState(),
			SqlState: c.GetSqlState(), GtidIoPos: c.GetGtidIoPos(),
			SecondsBehind: c.GetSecondsBehind(), ReadFile: c.GetReadFile(),
			ReadOffset: c.GetReadOffset()})
	}
	return p
}

func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "?")
}
