package workflowtest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// attached are the volumes whose devices the host has.
func (h *Host) attached() []*provider.Volume {
	var all []*provider.Volume
	for _, v := range h.w.Cloud.Volumes {
		if v.MachineID == h.machine.ID && v.Attachment != provider.AttachmentAttaching {
			all = append(all, v)
		}
	}
	return all
}

func (h *Host) device(ids []string) string {
	for _, v := range h.attached() {
		if slices.Contains(ids, "virtio-"+v.ID) {
			return v.ID
		}
	}
	return ""
}

func (a *agent) BlockDevices(ctx context.Context) (list []kit.BlockDevice, err error) {
	err = a.look(ctx, "BlockDevices", func() error {
		for _, v := range a.h.attached() {
			if !v.Default && a.h.Hidden > 0 {
				a.h.Hidden--
				continue
			}
			d := a.h.w.Cloud.Disks[v.ID]
			list = append(list, kit.BlockDevice{Path: "/dev/" + v.ID,
				IDs: []string{"virtio-" + v.ID}, SizeBytes: a.h.sizeOf(v),
				Filesystem: d.fs, MountPoints: a.h.pathsOf(v.ID)})
		}
		return nil
	})
	return list, err
}

func (h *Host) pathsOf(volume string) (paths []string) {
	for path, m := range h.Mounts {
		if m.volume == volume && m.Mounted {
			paths = append(paths, path)
		}
	}
	return paths
}

func (h *Host) mountOf(path string) (m kit.Mount) {
	at := h.Mounts[path]
	m.Mounted = at.Mounted
	if d := h.w.Cloud.Disks[at.volume]; at.Mounted && d != nil {
		m.DeviceIDs, m.UUID, m.Filesystem = []string{"virtio-" + at.volume}, d.UUID, d.fs
		m.SizeBytes, m.FreeBytes = d.Fills, d.Fills/2
	}
	return m
}

func (a *agent) Mount(ctx context.Context, path string) (m kit.Mount, err error) {
	err = a.look(ctx, "Mount", func() error {
		if a.h.Mounts[path] == nil {
			return errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_MOUNTED,
				"nothing is mounted at "+path)
		}
		m = a.h.mountOf(path)
		return nil
	})
	return m, err
}

func deny(reason errorsv1.Reason, format string, args ...any) error {
	return errs.New(errs.FailedPrecondition, reason, fmt.Sprintf(format, args...),
		errs.WithHint("a hint"))
}

func (a *agent) EnsureMount(ctx context.Context, req kit.EnsureMount,
	_ kit.Progress) (out kit.Mounted, err error) {
	err = a.change(ctx, "EnsureMount", req.Token, func() (bool, error) {
		volume := a.h.device(req.DeviceIDs)
		if volume == "" {
			return false, deny(errorsv1.Reason_REASON_DEVICE_MISSING, "no device %s",
				strings.Join(req.DeviceIDs, ","))
		}
		d := a.h.w.Cloud.Disks[volume]
		if err := fits(d, req); err != nil {
			return false, err
		}
		now := a.h.Mounts[req.Path]
		if now != nil && now.Mounted && now.volume != volume {
			replace := slices.Contains(req.ReplaceDeviceIDs, "virtio-"+now.volume)
			if _, there := a.h.w.Cloud.Volumes[now.volume]; there && !replace {
				return false, deny(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE, "%s is mounted there",
					now.volume)
			}
			a.h.Stop()
		}
		if d.UUID != req.FilesystemUUID {
			d.UUID = req.FilesystemUUID
			out.Changes = append(out.Changes, "new UUID")
		}
		if now == nil || !now.Mounted || now.volume != volume {
			a.h.MountRaw(req.Path, volume, "/")
			out.Changes = append(out.Changes, "mounted")
		}
		if req.Grow {
			d.Fills = max(d.Fills, a.h.sizeOf(a.h.w.Cloud.Volumes[volume]))
		}
		out.Mount = a.h.mountOf(req.Path)
		return len(out.Changes) > 0, nil
	})
	return out, err
}

func fits(d *Disk, req kit.EnsureMount) error {
	switch {
	case d.fs == "":
		return deny(errorsv1.Reason_REASON_FILESYSTEM_MISSING,
			"no filesystem; it is not formatted here")
	case d.Broken:
		return deny(errorsv1.Reason_REASON_FILESYSTEM_BROKEN, "fsck cannot correct it")
	case req.SourceFilesystemUUID != "" && d.UUID != req.SourceFilesystemUUID &&
		d.UUID != req.FilesystemUUID:
		return deny(errorsv1.Reason_REASON_DEVICE_WRONG, "its filesystem is %s", d.UUID)
	case req.ExpectedNonce != "" && d.Nonce != req.ExpectedNonce:
		return deny(errorsv1.Reason_REASON_NONCE_MISMATCH, "nonce %q instead of %q", d.Nonce,
			req.ExpectedNonce)
	}
	return nil
}

func (a *agent) EnsureBindMount(ctx context.Context,
	req kit.EnsureBindMount) (out kit.Mounted, err error) {
	err = a.change(ctx, "EnsureBindMount", req.Token, func() (bool, error) {
		from := a.h.Mounts[kit.DataMount]
		if from == nil || !from.Mounted {
			return false, deny(errorsv1.Reason_REASON_NOT_MOUNTED, "nothing at %s", kit.DataMount)
		}
		now := a.h.Mounts[req.Path]
		if now == nil || !now.Mounted || now.volume != from.volume {
			a.h.Stop()
			a.h.MountRaw(req.Path, from.volume, "/mysql")
			out.Changes = append(out.Changes, "bound")
		}
		out.Mount = a.h.mountOf(req.Path)
		return len(out.Changes) > 0, nil
	})
	return out, err
}

func (a *agent) EnsureUnmounted(ctx context.Context,
	req kit.EnsureUnmounted) (changes []string, err error) {
	err = a.change(ctx, "EnsureUnmounted", req.Token, func() (bool, error) {
		at := a.h.Mounts[req.Path]
		if at == nil {
			return false, nil
		}
		// The mount of a device that is gone is nobody's.
		_, there := a.h.w.Cloud.Volumes[at.volume]
		if at.Mounted && there && len(req.ExpectedDeviceIDs) > 0 &&
			!slices.Contains(req.ExpectedDeviceIDs, "virtio-"+at.volume) {
			return false, deny(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE, "%s is mounted there",
				at.volume)
		}
		if a.h.Running != nil {
			return false, deny(errorsv1.Reason_REASON_MOUNT_BUSY, "mariadbd holds it")
		}
		delete(a.h.Mounts, req.Path)
		changes = []string{"unmounted"}
		return true, nil
	})
	return changes, err
}

func (a *agent) FormatVolume(ctx context.Context,
	req kit.FormatVolume) (device kit.BlockDevice, changed bool, err error) {
	err = a.change(ctx, "FormatVolume", req.Token, func() (bool, error) {
		volume := a.h.device(req.DeviceIDs)
		if volume == "" {
			return false, deny(errorsv1.Reason_REASON_DEVICE_MISSING, "no device")
		}
		d := a.h.w.Cloud.Disks[volume]
		if d.fs != "" && d.UUID != req.FilesystemUUID || !req.RecordedBlank {
			return false, deny(errorsv1.Reason_REASON_DEVICE_NOT_BLANK, "it holds %s", d.fs)
		}
		changed = d.fs == ""
		d.fs, d.UUID = req.Filesystem, req.FilesystemUUID
		device = kit.BlockDevice{Path: "/dev/" + volume, Filesystem: d.fs}
		return changed, nil
	})
	return device, changed, err
}
