package workflowtest

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// GrowVolume shows the size only once it has settled, as EC2 does.
func (v cloudView) GrowVolume(ctx context.Context, id string,
	size int64) (vol provider.Volume, err error) {
	err = v.call(ctx, "GrowVolume", true, func() error {
		found, err := v.volume(id)
		switch {
		case err != nil:
			return err
		case size < found.SizeBytes:
			return provider.Errorf(provider.ErrInvalid, id, "volume %s cannot shrink", id)
		case v.c.NoGrowth != "":
			return provider.Errorf(provider.ErrLimitExceeded, id, "%s", v.c.NoGrowth)
		}
		if v.c.growing[id] != size && found.SizeBytes != size {
			v.c.growing[id], v.c.Settling[id] = size, 1
		}
		vol = *v.settled(found)
		return nil
	})
	return vol, err
}

// lateLooks are how many looks at a device that has grown still find its former size: more than
// there are steps.
const lateLooks = 6

// sizeOf is the size of a volume's device as the kernel knows it.
func (h *Host) sizeOf(v *provider.Volume) int64 {
	size, known := h.sizes[v.ID]
	if known && size != v.SizeBytes && h.late[v.ID] < lateLooks {
		h.late[v.ID]++
		return size
	}
	h.sizes[v.ID], h.late[v.ID] = v.SizeBytes, 0
	return v.SizeBytes
}

// GrowFilesystem grows it to the size that the kernel knows.
func (a *agent) GrowFilesystem(ctx context.Context, path string,
	token kit.FencingToken) (m kit.Mount, changed bool, err error) {
	err = a.change(ctx, "GrowFilesystem", token, func() (bool, error) {
		at := a.h.Mounts[path]
		if at == nil || !at.Mounted {
			return false, deny(errorsv1.Reason_REASON_NOT_MOUNTED, "nothing at %s", path)
		}
		d := a.h.w.Cloud.Disks[at.volume]
		if size := a.h.sizes[at.volume]; d.Fills < size {
			d.Fills, changed = size, true
		}
		m = a.h.mountOf(path)
		return changed, nil
	})
	return m, changed, err
}

// FSIs has a volume hold something else than what it was formatted with.
func (d *Disk) FSIs(fs string) { d.fs = fs }
