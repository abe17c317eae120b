package agentpool

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/consistentpoint/wire"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// duration leaves a zero to the agent's default.
func duration(d time.Duration) *durationpb.Duration {
	if d <= 0 {
		return nil
	}
	return durationpb.New(d)
}

func fencingToken(f kit.FencingToken) *agentv1.FencingToken {
	if f == (kit.FencingToken{}) {
		return nil
	}
	return &agentv1.FencingToken{Job: f.Job, Epoch: f.Epoch, EffectKey: f.EffectKey}
}

func hostInfo(h *agentv1.GetHostResponse) kit.HostInfo {
	info := kit.HostInfo{
		Server: h.GetServer(), OS: h.GetOs(), SystemdVersion: h.GetSystemdVersion(),
		MariaDBVersion: h.GetMariadbVersion(), AgentVersion: h.GetAgentVersion(),
		BootID:  h.GetBootId(),
		Digests: int(h.GetDigests()), RowHash: int(h.GetRowHash()),
	}
	for _, p := range h.GetDatabaseProcesses() {
		info.Databases = append(info.Databases, kit.DatabaseProcess{PID: int(p.GetPid()),
			Unit: p.GetUnit(), Datadir: p.GetDatadir(), DeviceIDs: p.GetDeviceIds(),
			Databases: p.GetDatabases()})
	}
	return info
}

// activeStates are systemd's own words.
var activeStates = map[agentv1.Unit_ActiveState]string{
	agentv1.Unit_ACTIVE_STATE_ACTIVE: "active", agentv1.Unit_ACTIVE_STATE_RELOADING: "reloading",
	agentv1.Unit_ACTIVE_STATE_INACTIVE: "inactive", agentv1.Unit_ACTIVE_STATE_FAILED: "failed",
	agentv1.Unit_ACTIVE_STATE_ACTIVATING:   "activating",
	agentv1.Unit_ACTIVE_STATE_DEACTIVATING: "deactivating",
}

func unit(u *agentv1.Unit) kit.Unit {
	return kit.Unit{ActiveState: activeStates[u.GetActiveState()], SubState: u.GetSubState()}
}

func blockDevice(d *agentv1.BlockDevice) kit.BlockDevice {
	return kit.BlockDevice{Path: d.GetPath(), IDs: d.GetIds(), SizeBytes: d.GetSizeBytes(),
		Filesystem: d.GetFilesystem(), MountPoints: d.GetMountPoints()}
}

func mount(m *agentv1.Mount) kit.Mount {
	return kit.Mount{Mounted: m.GetMounted(), DeviceIDs: m.GetDeviceIds(),
		Filesystem: m.GetFilesystem(), UUID: m.GetUuid(), SizeBytes: m.GetSizeBytes(),
		FreeBytes: m.GetFreeBytes()}
}

func ensureMount(r kit.EnsureMount) *agentv1.EnsureMountRequest {
	return &agentv1.EnsureMountRequest{
		DeviceIds: r.DeviceIDs, Path: r.Path, Filesystem: r.Filesystem,
		FilesystemUuid:       r.FilesystemUUID,
		SourceFilesystemUuid: r.SourceFilesystemUUID, ExpectedNonce: r.ExpectedNonce,
		ReplaceDeviceIds: r.ReplaceDeviceIDs,
		StopUnits:        r.StopUnits, DeviceTimeout: duration(r.DeviceTimeout), Grow: r.Grow,
		Owner: r.Owner, BoundUnits: r.BoundUnits,
		FencingToken: fencingToken(r.Token),
	}
}

var quiesceModes = map[inventory.SnapshotMode]agentv1.QuiesceRequest_Mode{
	inventory.ModeOnline:  agentv1.QuiesceRequest_MODE_ONLINE,
	inventory.ModeOffline: agentv1.QuiesceRequest_MODE_OFFLINE,
	inventory.ModeCrash:   agentv1.QuiesceRequest_MODE_CRASH,
}

func quiesceStart(r kit.Quiesce) *agentv1.QuiesceRequest_Start {
	return &agentv1.QuiesceRequest_Start{
		Mode: quiesceModes[r.Mode], Limit: duration(r.Limit), LockWait: duration(r.LockWait),
		Nonce: r.Nonce, Freeze: r.Freeze, AdoptWithin: duration(r.AdoptWithin),
	}
}

func consistentPoint(p *agentv1.ConsistentPoint) consistentpoint.Point {
	gtid := p.GetGtid()
	return consistentpoint.Point{
		Replica:  p.GetRole() == agentv1.ServerRole_SERVER_ROLE_REPLICA,
		ServerID: uint32(p.GetServerId()), DomainID: uint32(p.GetDomainId()),
		ServerVersion: p.GetServerVersion(), DatadirVersion: p.GetDatadirVersion(),
		BinlogPos: gtid.GetBinlogPos(), SlavePos: gtid.GetSlavePos(),
		CurrentPos: gtid.GetCurrentPos(), BinlogState: gtid.GetBinlogState(),
		BinlogFile: p.GetBinlogFile(), BinlogOffset: p.GetBinlogOffset(),
		FilesystemUUID: p.GetFilesystemUuid(), Filesystem: p.GetFilesystem(),
		Datadir: p.GetDatadir(), DatadirOnVolume: p.GetDatadirOnVolume(),
		Nonce: p.GetNonce(), At: p.GetAt().AsTime(), Contract: wire.FromProto(p.GetContract()),
	}
}

func holdResult(r *agentv1.QuiesceResult) kit.QuiesceResult {
	return kit.QuiesceResult{
		Unbroken: r.GetUnbroken(), BrokenReason: r.GetBrokenReason(),
		Blocked: r.GetBlocked().AsDuration(),
		Frozen:  r.GetFrozen().AsDuration(), Down: r.GetDown().AsDuration(),
	}
}

func serverRole(replica bool) agentv1.ServerRole {
	if replica {
		return agentv1.ServerRole_SERVER_ROLE_REPLICA
	}
	return agentv1.ServerRole_SERVER_ROLE_PRIMARY
}
