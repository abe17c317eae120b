package server

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/fleet"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/proof"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func roleOf(r Record) cpv1.Server_Role { return enum.Of[cpv1.Server_Role](string(r.Role)) }

func stateOf(r Record) cpv1.Server_State { return enum.Of[cpv1.Server_State](string(r.State)) }

func (s *Service) toWire(r Record) *cpv1.Server {
	out := &cpv1.Server{
		Name: r.Subject(), Role: roleOf(r), State: stateOf(r), StateReason: r.StateReason,
		Machine: r.MachineID, Address: r.Address, Port: int32(r.Port), ServerId: r.ServerID,
		MariadbVersion: r.BinaryVersion, DatadirVersion: r.DatadirVersion, Image: r.Image,
		Zone: r.Zone, DataVolume: r.ProviderID(r.DataVolume),
		ReplicationConfigured: r.ReplicationConfigured, BinlogAutoPurge: r.BinlogAutoPurge,
		LastSeenTime: wire.Time(r.LastSeen), CreateTime: wire.Time(r.Created), Etag: r.Etag(),
		Provider:           r.Provider,
		AgentHasOldAddress: s.cfg.Records.Stale(r.Server),
	}
	if disk, observed := s.cfg.Records.Disk(r.Name); observed {
		out.Disk = diskToWire(disk)
	}
	if c, known := s.cfg.Records.Coverage(r.Name); known {
		out.Proofs = proofsToWire(c)
	}
	if r.State == inventory.ServerReady {
		out.StateReason = "" // how it was verified has a field of its own
	}
	if r.Verified != (inventory.Verification{}) {
		out.Verified = &cpv1.Verification{Level: enum.Of[cpv1.VerifyLevel](string(
			r.Verified.Level)),
			Gtid: r.Verified.GTID, Time: wire.Time(r.Verified.Time)}
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, &cpv1.Finding{Code: f.Code, Text: f.Text,
			SinceTime: wire.Time(f.Since), Errors: f.Errors, Hint: errs.HintToProto(f.Hint)})
	}
	for _, j := range r.Jobs {
		out.Jobs = append(out.Jobs, &cpv1.ServerJob{Name: "jobs/" + j.ID, Title: j.Title,
			Kind: enum.Of[cpv1.Job_Kind](j.Kind), State: enum.Of[cpv1.Job_State](string(j.State))})
	}
	if r.Job != "" {
		out.Job = "jobs/" + r.Job
	}
	if r.Primary != "" {
		out.Primary = inventory.ServerSubject(r.Primary)
	}
	if r.Snapshot != "" {
		out.Snapshot = inventory.SnapshotSubject(r.Snapshot)
	}
	for _, m := range r.Mounts {
		out.Mounts = append(out.Mounts,
			&cpv1.ServerMount{Path: m.Path, Volume: r.ProviderID(m.Volume)})
	}
	return out
}

func diskToWire(d fleet.Disk) *cpv1.ServerDisk {
	out := &cpv1.ServerDisk{FreeBytes: d.FreeBytes, UsedBytes: d.UsedBytes,
		BinlogBytes: d.BinlogBytes, BinlogShare: d.BinlogShare}
	if d.Window > 0 {
		out.Window = durationpb.New(d.Window)
	}
	if d.FullIn > 0 {
		out.FullAfter = durationpb.New(d.FullIn)
	}
	return out
}

func proofsToWire(c proof.Coverage) *cpv1.ServerProofs {
	return &cpv1.ServerProofs{Coverage: c.Share, Tables: int32(c.Tables),
		ProvedTables: int32(c.Fresh), UnfitTables: int32(c.Unfit),
		OldestTime: wire.Time(c.Oldest), Differences: c.Different,
		RoundBeginTime: wire.Time(c.RoundBegan), RoundEndTime: wire.Time(c.RoundEnded),
		Paused: c.Paused}
}
