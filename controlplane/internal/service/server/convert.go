package server

import (
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

var roles = map[inventory.Role]cpv1.Server_Role{
	inventory.RolePrimary: cpv1.Server_ROLE_PRIMARY,
	inventory.RoleReplica: cpv1.Server_ROLE_REPLICA,
}

func toWire(r Record) *cpv1.Server {
	out := &cpv1.Server{
		Name: r.Subject(), Role: roles[r.Role],
		State:       cpv1.Server_State(cpv1.Server_State_value["STATE_"+string(r.State)]),
		StateReason: r.StateReason,
		Machine:     r.MachineID, Address: r.Address, Port: int32(r.Port),
		ServerId:       int64(r.ServerID),
		MariadbVersion: r.BinaryVersion, DatadirVersion: r.DatadirVersion, Image: r.Image,
		Zone:       r.Zone,
		DataVolume: r.ProviderID(r.DataVolume), ReplicationConfigured: r.ReplicationConfigured,
		BinlogAutoPurge: r.BinlogAutoPurge,
		LastSeenTime:    wire.Time(r.LastSeen), CreateTime: wire.Time(r.Created), Etag: r.Etag(),
		Verified: strings.ToLower(string(r.Verified.Level)), Provider: r.Provider,
	}
	if r.State == inventory.ServerReady {
		out.StateReason = "" // how it was verified has a field of its own
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
