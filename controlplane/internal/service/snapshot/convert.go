package snapshot

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func stateOf(r Record) cpv1.Snapshot_State { return enum.Of[cpv1.Snapshot_State](string(r.State)) }

func toWire(r Record) *cpv1.Snapshot {
	volume := r.VolumeID
	if volume == "" {
		volume = r.Volume
	}
	out := &cpv1.Snapshot{
		Name: r.Subject(), Server: inventory.ServerSubject(r.Server), Volume: volume,
		ProviderId: r.ProviderID, State: stateOf(r), StateReason: r.StateReason,
		Mode: enum.Of[cpv1.Snapshot_Mode](string(r.Mode)), SizeBytes: r.SizeBytes,
		CreateTime: wire.Time(r.Created), Etag: r.Etag(), Zone: r.Zone,
	}
	if r.Point != (consistentpoint.Point{}) {
		out.Point = point(r.Point)
		out.Point.MaxPosition = r.MaxPosition
		out.WriteBlock = durationpb.New(r.Quiesce.Blocked)
		out.Freeze = durationpb.New(r.Quiesce.Frozen)
	}
	return out
}

func point(p consistentpoint.Point) *cpv1.ConsistentPoint {
	role := cpv1.Server_ROLE_PRIMARY
	if p.Replica {
		role = cpv1.Server_ROLE_REPLICA
	}
	return &cpv1.ConsistentPoint{
		SourceRole: role, ServerId: p.ServerID, DomainId: p.DomainID,
		ServerVersion: p.ServerVersion, Position: p.Position(), BinlogPos: p.BinlogPos,
		SlavePos: p.SlavePos, CurrentPos: p.CurrentPos, BinlogFile: p.BinlogFile,
		BinlogOffset: p.BinlogOffset, FilesystemUuid: p.FilesystemUUID,
		Filesystem: p.Filesystem, Datadir: p.Datadir, Nonce: p.Nonce,
		PointTime: wire.Time(p.At),
	}
}
