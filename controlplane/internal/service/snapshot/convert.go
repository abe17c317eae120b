package snapshot

import (
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func toWire(r Record) *cpv1.Snapshot {
	volume := r.VolumeID
	if volume == "" {
		volume = r.Volume
	}
	return &cpv1.Snapshot{
		Name: r.Subject(), Server: inventory.ServerSubject(r.Server), Volume: volume,
		ProviderId:  r.ProviderID,
		State:       cpv1.Snapshot_State(cpv1.Snapshot_State_value["STATE_"+string(r.State)]),
		StateReason: r.StateReason,
		Mode:        cpv1.Snapshot_Mode(cpv1.Snapshot_Mode_value["MODE_"+string(r.Mode)]),
		Testimony:   testimony(r.Snapshot),
		SizeBytes:   r.SizeBytes, CreateTime: wire.Time(r.Created), Etag: r.Etag(), Zone: r.Zone,
	}
}

// testimony is absent until the point was reached.
func testimony(s inventory.Snapshot) *cpv1.SnapshotTestimony {
	t := s.Testimony
	if t == (inventory.Testimony{}) {
		return nil
	}
	out := &cpv1.SnapshotTestimony{
		SourceRole: strings.ToLower(string(t.Role)), SourceServerId: int64(t.ServerID),
		Version: t.Version, Gtid: t.Position(),
		GtidBinlogPos: t.GTIDBinlogPos, GtidSlavePos: t.GTIDSlavePos,
		GtidCurrentPos: t.GTIDCurrentPos, BinlogFile: t.BinlogFile,
		BinlogOffset: int64(t.BinlogPosition), FilesystemUuid: t.FSUUID, Filesystem: t.FSType,
		Datadir: t.Datadir, Nonce: t.Nonce,
		WriteBlock: durationpb.New(t.Block), Freeze: durationpb.New(t.Freeze),
		HoldTime: wire.Time(t.HeldAt),
	}
	if s.Mode == inventory.ModeCrash {
		out.GtidUpper = t.GTIDCurrentPos
	}
	return out
}
