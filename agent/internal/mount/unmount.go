package mount

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// EnsureUnmounted makes sure that nothing is mounted at the path, and that nothing will be after a
// reboot. When something is mounted whose device has none of the expected names,
// MOUNT_WRONG_SOURCE; empty accepts any. It says what it changed.
func (m *Manager) EnsureUnmounted(ctx context.Context, path string, expected,
	stopUnits []string) ([]string, error) {
	if err := m.allow.checkPath(path); err != nil {
		return nil, err
	}
	if err := m.allow.checkDeviceIDs("expected_device_ids", expected); err != nil {
		return nil, err
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now, err := m.look(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := decideUnmount(now, expected); err != nil {
		return nil, err
	}
	var changes []string
	if now.Mounted {
		if changes, err = m.unmount(ctx, path, stopUnits); err != nil {
			return changes, err
		}
	}
	forgotten, err := m.forget(ctx, path)
	return append(changes, forgotten...), err
}

func decideUnmount(now Mount, expected []string) error {
	if !now.Mounted || len(expected) == 0 || now.gone() || intersects(now.DeviceIDs, expected) {
		return nil
	}
	return refuse(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE,
		fmt.Sprintf("cannot unmount %s: %s is mounted there, not %s", now.Path,
			name(now.Device, now.DeviceIDs, now.Filesystem), strings.Join(expected, " or ")),
		errs.WithHint("name the volume that is to be unmounted",
			errs.Call("GetMount", "path", now.Path)),
		errs.Meta("device_ids", strings.Join(now.DeviceIDs, ",")))
}

// forget removes all that would mount something at the path again.
func (m *Manager) forget(ctx context.Context, path string) ([]string, error) {
	unit := systemd.MountUnit(path)
	changes, err := unbind(ctx, m.files, unit)
	if err != nil {
		return changes, err
	}
	if _, disabled, err := m.files.Disable(ctx, unit); err != nil &&
		errs.KindOf(err) != errs.NotFound {
		return changes, err
	} else if disabled {
		changes = append(changes, "disabled "+unit)
	}
	removed, err := m.files.Delete(ctx, unit)
	if err != nil {
		return changes, err
	}
	if removed {
		changes = append(changes, "removed "+unit)
	}
	dropped, err := m.dropFromFstab(ctx, path, "unmounted on request:")
	return append(changes, dropped...), err
}

// unmount takes everything off the path: units that use it are stopped first, then systemd
// unmounts. A mount in use is retried for a while, then refused with the processes that use it.
func (m *Manager) unmount(ctx context.Context, path string, stopUnits []string) ([]string, error) {
	changes, err := stopAll(ctx, m.units, stopUnits)
	if err != nil {
		return changes, err
	}
	deadline := time.NewTimer(m.patience)
	defer deadline.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		mount, mounted, err := m.host.mountedAt(path)
		if err != nil {
			return changes, err
		}
		if !mounted {
			return changes, nil
		}
		tried := m.takeOff(ctx, path)
		if tried == nil {
			changes = append(changes, "unmounted "+cmp.Or(mount.Source, mount.Filesystem)+" from "+
				path)
			continue // there may be another one below
		}
		select {
		case <-ctx.Done():
			return changes, fmt.Errorf("cannot unmount %s: %w", path, errors.Join(ctx.Err(), tried))
		case <-deadline.C:
			return changes, m.busy(path, mount, tried)
		case <-poll.C:
		}
	}
}

func stopAll(ctx context.Context, states Units, units []string) (changes []string, err error) {
	for _, unit := range units {
		_, stopped, err := states.Stop(ctx, unit)
		switch {
		case err != nil && errs.KindOf(err) == errs.NotFound:
		case err != nil:
			return changes, err
		case stopped:
			changes = append(changes, "stopped "+unit)
		}
	}
	return changes, nil
}

// takeOff unmounts once: through systemd, which stops what depends on the mount; and directly what
// systemd believes to be unmounted.
func (m *Manager) takeOff(ctx context.Context, path string) error {
	before, mounted, err := m.host.mountedAt(path)
	if err != nil || !mounted {
		return err
	}
	_, _, stopErr := m.units.Stop(ctx, systemd.MountUnit(path))
	after, mounted, err := m.host.mountedAt(path)
	if err != nil || !mounted || after.Major != before.Major || after.Minor != before.Minor ||
		after.Root != before.Root {
		return err
	}
	if err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW); err != nil &&
		!errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("cannot unmount %s: %w", path, err), stopErr)
	}
	return nil
}

func (m *Manager) busy(path string, mount entry, cause error) error {
	holders := m.host.holders(mount.Major, mount.Minor)
	found := "no process that /proc lists"
	if len(holders) > 0 {
		found = strings.Join(holders, ", ")
	}
	return refuse(errorsv1.Reason_REASON_MOUNT_BUSY,
		fmt.Sprintf("cannot unmount %s: it is in use by %s", path, found),
		errs.WithHint("end these processes, or name their units in stop_units"), errs.Wrap(cause),
		errs.Meta("holders", found), errs.Meta("path", path))
}
