package mariadb

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// StatusToProto is a status on the wire.
func StatusToProto(s mariadb.Status) *agentv1.MariaDBStatus {
	status := &agentv1.MariaDBStatus{
		Answers: s.Answers, DownReason: s.DownReason, AccessDenied: s.AccessDenied,
		BinaryVersion:  s.Binary.String(),
		DatadirVersion: s.DatadirVersion.String(),
		Datadir:        s.Datadir, Quiesced: s.Quiesced, Options: s.Options,
		FilesystemUsedBytes: s.Volume.UsedBytes, FilesystemFreeBytes: s.Volume.FreeBytes,
		FilesystemUuid: s.Volume.UUID, Filesystem: s.Volume.Type, FilesystemMount: s.Volume.Mount,
	}
	if c := s.Certificate; !c.Expires.IsZero() {
		status.Certificate = &agentv1.MariaDBCertificate{ExpireTime: stamp(c.Expires)}
		if c.Server != "" {
			status.Certificate.Server = serverPrefix + c.Server
			status.Certificate.Generation = c.Generation
		}
	}
	for _, r := range s.Reservations {
		status.Reservations = append(status.Reservations, reservationToProto(r))
	}
	if s.Answers {
		addLive(status, s.Live)
	}
	return status
}

func addLive(status *agentv1.MariaDBStatus, l mariadb.Live) {
	status.ServerVersion, status.ServerId, status.GtidDomainId, status.Port = l.Version, l.ServerID,
		l.DomainID, int32(l.Port)
	status.ReadOnly, status.LogBin, status.LogSlaveUpdates, status.GtidStrictMode = l.ReadOnly,
		l.LogBin, l.LogSlaveUpdates, l.Strict
	status.SyncBinlog, status.FlushLogAtTrxCommit, status.EventScheduler, status.Tls = l.SyncBinlog,
		l.FlushLogAtTrxCommit, l.EventScheduler, l.TLS
	status.BinlogExpiry = durationpb.New(time.Duration(l.BinlogExpireSeconds) * time.Second)
	status.BinlogTotalSizeBytes = l.BinlogTotalSize
	status.Gtid = positionsToProto(l.Gtid)
	status.BinlogFile, status.BinlogOffset, status.OldestGtid, status.OldestBinlog = l.BinlogFile,
		l.BinlogOffset, l.OldestGtid, l.OldestBinlog
	status.BinlogBytes = l.BinlogBytes
	status.NonTransactionalTables = l.NonTransactional
	for _, m := range l.Mismatches {
		status.SettingMismatches = append(status.SettingMismatches, &agentv1.SettingMismatch{
			Name: m.Name, Want: m.Want, Is: m.Is, From: m.From})
	}
	status.MemoryTables, status.TakesCertificates = l.Memory, l.TakesCertificates
	status.TakesGenerations, status.LockHolders = l.TakesCertificates, l.Holders
	status.StartTime, status.Settings = stamp(l.Started), l.Settings
	status.BinlogHistory, status.BinlogHistoryReason = l.History, l.HistoryReason
	if c := l.HistoryClaim; c.ID != "" {
		status.HistoryClaim = &agentv1.HistoryClaim{Id: c.ID, File: c.File, Offset: c.Offset,
			Gtid: c.Gtid, Digest: c.Digest}
	}
	for _, r := range l.Replication {
		status.Replication = append(status.Replication, replicationToProto(r))
	}
	for _, c := range l.Replicas {
		status.Replicas = append(status.Replicas, &agentv1.ConnectedReplica{ServerId: c.ServerID,
			Host: c.Host, User: c.User})
	}
}

func positionsToProto(p mariadb.Positions) *agentv1.GtidPositions {
	return &agentv1.GtidPositions{BinlogPos: p.Binlog, SlavePos: p.Slave, CurrentPos: p.Current,
		BinlogState: p.BinlogState}
}

func replicationToProto(r mariadb.Replication) *agentv1.ReplicationStatus {
	status := &agentv1.ReplicationStatus{
		Connection: r.Connection, PrimaryHost: r.Host, PrimaryPort: int32(r.Port), User: r.User,
		IoRunning:  r.IORunning,
		SqlRunning: r.SQLRunning, IoState: r.IOState, SqlState: r.SQLState,
		IoErrno: int32(r.IOErrno), IoError: r.IOError,
		SqlErrno: int32(r.SQLErrno), SqlError: r.SQLError, UsingGtid: r.UsingGtid,
		GtidIoPos: r.GtidIOPos, Tls: r.TLS, TlsVerify: r.TLSVerify,
		PrimaryServerId: r.PrimaryServerID, Settings: r.Settings,
		ReadFile: r.ReadFile, ReadOffset: r.ReadOffset, Certificate: r.CertFile != "",
	}
	if r.Behind != nil {
		status.SecondsBehind = durationpb.New(*r.Behind)
	}
	return status
}

func reservationToProto(r mariadb.Reservation) *agentv1.BinlogReservation {
	return &agentv1.BinlogReservation{Id: r.ID, FirstFile: r.FirstFile, ExpireTime: stamp(r.Until)}
}
