package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// settledVolume settles a volume and shows it, as settledMachine does.
func (p *Provider) settledVolume(ctx context.Context, v *volumeRecord) provider.Volume {
	err := p.settleVolume(ctx, v)
	shown := p.showVolume(v)
	if err != nil {
		p.cfg.Log.Warn("cannot settle volume", "volume", v.ID, "error", err)
		shown.Reason = err.Error()
	}
	return shown
}

// settleVolume brings what is there in line with the record, after a kill at any point.
func (p *Provider) settleVolume(ctx context.Context, v *volumeRecord) error {
	file := p.lab.volumeFile(v.ID)
	switch {
	case !v.DeletedAt.IsZero():
		if free, err := freeLoop(file, nothing); err != nil || !free {
			return err
		}
		return errors.Join(removeFile(file+".new"), removeFile(file))
	case v.Error != "":
		return nil
	}
	if err := p.settleFile(v, file); err != nil {
		return err
	}
	switch {
	case v.Detaching:
		return p.detach(v)
	case v.MachineID != "":
		return p.settleAttachment(ctx, v)
	}
	_, err := freeLoop(file, nothing)
	return err
}

// settleFile makes the volume's file, or grows it to its recorded size. The file of a
// default volume is made by the machine's supervisor, which formats it.
func (p *Provider) settleFile(v *volumeRecord, file string) error {
	info, err := os.Stat(file)
	switch {
	case err == nil && info.Size() < v.SizeBytes:
		if err := os.Truncate(file, v.SizeBytes); err != nil {
			return fmt.Errorf("cannot grow volume %s: %w", v.ID, err)
		}
		return growLoop(file)
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	case v.Default:
		return nil
	}
	if err := p.lab.makeVolumeFile(v); err != nil {
		v.Error = fmt.Sprintf("cannot make the volume: %v", err)
		return saveRecord(p.lab, volumeKind, v.ID, v)
	}
	return nil
}

// makeVolumeFile ends with a rename, so that a file by the volume's name is a whole one.
func (l lab) makeVolumeFile(v *volumeRecord) error {
	temporary := l.volumeFile(v.ID) + ".new"
	var err error
	if v.SnapshotID == "" {
		err = makeSparse(temporary, v.SizeBytes)
	} else {
		err = cloneFile(l.snapshotFile(v.SnapshotID), temporary)
	}
	if err == nil {
		err = os.Truncate(temporary, v.SizeBytes)
	}
	if err == nil {
		err = os.Rename(temporary, l.volumeFile(v.ID))
	}
	return errors.Join(err, atomicfile.SyncDir(l.pool("volumes")))
}

func (p *Provider) showVolume(v *volumeRecord) provider.Volume {
	shown := provider.Volume{ID: v.ID, State: p.volumeState(v), Reason: v.Error,
		SizeBytes: v.SizeBytes, Type: v.Type, Zone: v.Zone,
		SnapshotID: v.SnapshotID, MachineID: v.MachineID, Attachment: p.attachmentState(v),
		DeleteOnTermination: v.DeleteOnTermination, Default: v.Default, Tags: v.Tags,
		CreatedAt: v.CreatedAt}
	if v.Detaching {
		shown.Reason = fmt.Sprintf("machine %s still uses it: unmount it there", v.MachineID)
	}
	return shown
}

func (p *Provider) volumeState(v *volumeRecord) provider.VolumeState {
	file := p.lab.volumeFile(v.ID)
	_, err := os.Stat(file)
	switch {
	case !v.DeletedAt.IsZero() && errors.Is(err, fs.ErrNotExist) &&
		p.since(v.DeletedAt, p.cfg.Delays.Delete):
		return provider.VolumeDeleted
	case !v.DeletedAt.IsZero():
		return provider.VolumeDeleting
	case v.Error != "":
		return provider.VolumeError
	case err != nil || !p.since(v.CreatedAt, p.cfg.Delays.VolumeCreate):
		return provider.VolumeCreating
	case v.MachineID != "":
		return provider.VolumeInUse
	}
	return provider.VolumeAvailable
}

func (p *Provider) attachmentState(v *volumeRecord) provider.AttachmentState {
	switch {
	case v.MachineID == "":
		return provider.AttachmentNone
	case v.Detaching:
		return provider.AttachmentDetaching
	case !p.since(v.AttachedAt, p.cfg.Delays.Attach):
		return provider.AttachmentAttaching
	}
	return provider.AttachmentAttached
}
