package agentpool

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/consistentpoint/wire"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

func status(s *agentv1.MariaDBStatus) replication.Status {
	out := replication.Status{
		Answers: s.GetAnswers(), DownReason: s.GetDownReason(),
		AccessDenied: s.GetAccessDenied(), BinaryVersion: s.GetBinaryVersion(),
		DatadirVersion: s.GetDatadirVersion(),
		Datadir:        s.GetDatadir(), ServerVersion: s.GetServerVersion(),
		Started:  moment(s.GetStartTime()),
		ServerID: uint32(s.GetServerId()), DomainID: uint32(s.GetGtidDomainId()),
		Port: int(s.GetPort()), ReadOnly: s.GetReadOnly(),
		LogBin: s.GetLogBin(), LogUpdates: s.GetLogSlaveUpdates(),
		StrictMode: s.GetGtidStrictMode(), SyncBinlog: s.GetSyncBinlog(),
		FlushAtCommit: s.GetFlushLogAtTrxCommit(), EventScheduler: s.GetEventScheduler(),
		TLS:            s.GetTls(),
		BinlogExpire:   s.GetBinlogExpiry().AsDuration(),
		BinlogMaxBytes: s.GetBinlogTotalSizeBytes(),
		BinlogPos:      s.GetGtid().GetBinlogPos(), SlavePos: s.GetGtid().GetSlavePos(),
		CurrentPos:  s.GetGtid().GetCurrentPos(),
		BinlogState: s.GetGtid().GetBinlogState(), BinlogFile: s.GetBinlogFile(),
		BinlogOffset: s.GetBinlogOffset(),
		BinlogBytes:  s.GetBinlogBytes(),
		OldestBinlog: s.GetOldestBinlog(), OldestGTID: s.GetOldestGtid(), Held: s.GetQuiesced(),
		Options:        s.GetOptions(),
		FilesystemUsed: s.GetFilesystemUsedBytes(), FilesystemFree: s.GetFilesystemFreeBytes(),
		FilesystemUUID: s.GetFilesystemUuid(),
		Filesystem:     s.GetFilesystem(), FilesystemMount: s.GetFilesystemMount(),
		NonTransactional:  s.GetNonTransactionalTables(),
		Memory:            s.GetMemoryTables(),
		Settings:          s.GetSettings(),
		BinlogHistory:     s.GetBinlogHistory(),
		HistoryReason:     s.GetBinlogHistoryReason(),
		HistoryClaim:      claim(s.GetHistoryClaim()),
		TakesCertificates: s.GetTakesCertificates(),
		TakesGenerations:  s.GetTakesGenerations(),
		LockHolders:       s.GetLockHolders(),
		Certificate: replication.Certificate{
			Server:     strings.TrimPrefix(s.GetCertificate().GetServer(), "servers/"),
			Generation: s.GetCertificate().GetGeneration(),
			Expires:    moment(s.GetCertificate().GetExpireTime())},
	}
	for _, m := range s.GetSettingMismatches() {
		out.Mismatches = append(out.Mismatches, replication.Mismatch{Name: m.GetName(),
			Want: m.GetWant(), Is: m.GetIs(), From: m.GetFrom()})
	}
	for _, c := range s.GetReplication() {
		out.Connections = append(out.Connections, connection(c))
	}
	for _, r := range s.GetReplicas() {
		out.Replicas = append(out.Replicas, replication.Connected{ServerID: uint32(r.GetServerId()),
			Host: r.GetHost(), User: r.GetUser()})
	}
	for _, r := range s.GetReservations() {
		out.Reservations = append(out.Reservations, reservation(r))
	}
	return out
}

func connection(c *agentv1.ReplicationStatus) replication.Connection {
	return replication.Connection{
		Name: c.GetConnection(), PrimaryHost: c.GetPrimaryHost(),
		PrimaryPort: int(c.GetPrimaryPort()), User: c.GetUser(),
		IORunning: c.GetIoRunning(), SQLRunning: c.GetSqlRunning(), IOState: c.GetIoState(),
		SQLState: c.GetSqlState(),
		IOErrno:  int(c.GetIoErrno()), IOError: c.GetIoError(), SQLErrno: int(c.GetSqlErrno()),
		SQLError:  c.GetSqlError(),
		UsingGTID: c.GetUsingGtid(), ReceivedPos: c.GetGtidIoPos(),
		ReadFile: c.GetReadFile(), ReadOffset: c.GetReadOffset(),
		SecondsBehind: c.GetSecondsBehind().AsDuration(),
		SecondsKnown:  c.GetSecondsBehind() != nil, TLS: c.GetTls(), TLSVerify: c.GetTlsVerify(),
		PrimaryServerID: uint32(c.GetPrimaryServerId()), Settings: c.GetSettings(),
		Certificate: c.GetCertificate(),
	}
}

func reservation(r *agentv1.BinlogReservation) replication.Reservation {
	return replication.Reservation{ID: r.GetId(), FirstFile: r.GetFirstFile(),
		Expires: moment(r.GetExpireTime())}
}

// moment keeps a time that was not told zero.
func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func configuration(c kit.Configuration) *agentv1.SetConfigurationRequest {
	return &agentv1.SetConfigurationRequest{
		ServerId: int64(c.ServerID), ReadOnly: c.ReadOnly, SkipReplicaStart: c.SkipReplicaStart,
		EventScheduler: c.EventScheduler,
		BindAddress:    c.BindAddress, Port: int32(c.Port), LogBin: c.LogBin,
		LogSlaveUpdates: c.LogUpdates, GtidStrictMode: c.StrictMode,
		Tls: c.TLS, ReportHost: c.ReportHost, Durable: c.Durable,
		BinlogExpiry: duration(c.BinlogExpire),
		Options:      c.Options, GtidDomainId: int64(c.DomainID),
		FencingToken: fencingToken(c.Token), Contract: wire.ToProto(c.Contract),
	}
}

// tableChecksum is a table's, of an agent that hashes rows in the way of a version. One of before
// version 1 says of a table that it could not read that it is missing.
func tableChecksum(m *agentv1.ChecksumTablesResponse, rowHash int) kit.TableChecksum {
	t := kit.TableChecksum{
		Table: m.GetTable(), Checksum: m.GetChecksum(), Missing: m.GetMissing(),
		Engine: m.GetEngine(), Consistent: m.GetConsistent(),
		Bytes: m.GetBytes(), DefinitionHash: m.GetDefinitionHash(), LeftOut: m.GetLeftOut(),
		Problem: m.GetProblem(), Busy: m.GetBusy(),
	}
	if t.Missing && rowHash == 0 {
		t.Missing, t.Problem = false, "its agent of an earlier version cannot tell why"
	}
	return t
}

func object(m *agentv1.InventoryObject) kit.Object {
	return kit.Object{
		Kind: strings.ReplaceAll(enum.Word(m.GetKind()), "_", " "), Name: m.GetName(),
		Digest: m.GetDigest(), Problem: m.GetProblem(), Busy: m.GetBusy(), Value: m.GetValue(),
		Remote: m.GetRemote(),
	}
}

func waited(m *agentv1.WaitForGtidResponse) kit.Waited {
	return kit.Waited{Current: m.GetCurrentGtid(), Remaining: m.GetRemaining()}
}
