package mount

import (
	domain "github.com/understudy-db/understudy/agent/internal/mount"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

func toDevice(d domain.Device) *agentv1.BlockDevice {
	return &agentv1.BlockDevice{
		Path: d.Path, Ids: d.IDs, Serial: d.Serial, SizeBytes: d.SizeBytes,
		Filesystem: d.Filesystem, Uuid: d.UUID, Label: d.Label,
		MountPoints: d.MountPoints, Parent: d.Parent, Type: d.Type, ReadOnly: d.ReadOnly,
		Blank: d.Blank,
	}
}

func toMount(m domain.Mount) *agentv1.Mount {
	return &agentv1.Mount{
		Path: m.Path, Mounted: m.Mounted, Device: m.Device, DeviceIds: m.DeviceIDs,
		Filesystem: m.Filesystem, Uuid: m.UUID, Options: m.Options,
		SizeBytes: m.SizeBytes, FreeBytes: m.FreeBytes, Unit: m.Unit, UnitSource: m.UnitSource,
		UnitSourceExists: m.UnitSourceExists,
		Enabled:          m.Enabled, Root: m.Root, Nonce: m.Nonce,
	}
}
