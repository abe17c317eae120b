package mount

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// uuidChange is on record while the UUID of an XFS is changed. The change clears the log, which was
// clean, and then writes each superblock: interrupted in between it leaves a filesystem that does
// not mount. Where the new log is whole, the same change made again makes all of it whole, while
// xfs_repair would take the log's UUID for the filesystem's own. Where the log is half cleared,
// only xfs_repair -L helps.
type uuidChange struct {
	// Old and New are the UUIDs.
	Old string `json:"old"`
	New string `json:"new"`
}

// setXFSUUID gives an XFS whose log was just replayed another UUID.
func (f *filesystems) setXFSUUID(ctx context.Context, device Device, uuid string) error {
	path := f.uuidRecord(device)
	if err := writeRecord(path, uuidChange{Old: device.UUID, New: uuid}); err != nil {
		return fmt.Errorf("cannot record the change of a UUID: %w", err)
	}
	if changed, err := f.changeXFSUUID(ctx, device, uuid); err != nil || !changed {
		return errors.Join(err, fmt.Errorf("cannot give %s a new UUID: xfs_admin did not",
			device.Path))
	}
	return forgetRecord(path)
}

// changeXFSUUID says whether the UUID is the new one: xfs_admin ends well also when it refused.
func (f *filesystems) changeXFSUUID(ctx context.Context, device Device, uuid string) (bool, error) {
	_, err := f.host.exec.Run(ctx,
		hostexec.Command{Tool: "xfs_admin", Args: []string{"-U", uuid, device.Path},
			Timeout: checkTimeout})
	if err != nil {
		return false, toolError("give "+device.Path+" a new UUID", err)
	}
	now, err := f.host.probe(ctx, device.Path)
	return now.UUID == uuid, err
}

// repairUUID repairs a filesystem whose change of UUID was interrupted.
func (f *filesystems) repairUUID(ctx context.Context, device Device) error {
	path := f.uuidRecord(device)
	var change uuidChange
	found, err := atomicfile.ReadJSON(path, &change)
	if err != nil {
		return fmt.Errorf("cannot read the record of a change of UUID: %w", err)
	}
	if !found {
		return nil
	}
	if device.UUID != change.Old && device.UUID != change.New {
		return forgetRecord(path) // another volume under that name
	}
	f.host.log.Info("repairing a change of UUID that was interrupted", "device", device.Path, "old",
		change.Old, "new", change.New)
	if changed, err := f.changeXFSUUID(ctx, device, change.New); err == nil && !changed {
		_, err = f.host.exec.Run(ctx,
			hostexec.Command{Tool: "xfs_repair", Args: []string{"-L", device.Path},
				Timeout: checkTimeout})
		if err != nil {
			return toolError("repair the filesystem on "+device.Path, err)
		}
	} else if err != nil {
		return err
	}
	return forgetRecord(path)
}

func (f *filesystems) uuidRecord(device Device) string { return f.record("xfs-uuid", device) }
