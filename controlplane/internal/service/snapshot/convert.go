package snapshot

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
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
	if t := r.Testimony; t != (inventory.Testimony{}) {
		out.Point = point(t)
		out.WriteBlock, out.Freeze = durationpb.New(t.Block), durationpb.New(t.Freeze)
		if r.Mode == inventory.ModeCrash {
			out.Point.MaxPosition = t.GTIDCurrentPos
		}
	}
	return out
}

func point(t inventory.Testimony) *cpv1.ConsistentPoint {
	return &cpv1.ConsistentPoint{
		SourceRole: enum.Of[cpv1.Server_Role](string(t.Role)), ServerId: t.ServerID,
		DomainId: t.GTIDDomainID, ServerVersion: t.Version, Position: t.Position(),
		BinlogPos: t.GTIDBinlogPos, SlavePos: t.GTIDSlavePos, CurrentPos: t.GTIDCurrentPos,
		BinlogFile: t.BinlogFile, BinlogOffset: int64(t.BinlogPosition),
		FilesystemUuid: t.FSUUID, Filesystem: t.FSType, Datadir: t.Datadir, Nonce: t.Nonce,
		PointTime: wire.Time(t.HeldAt),
	}
}
