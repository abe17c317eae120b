package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// The filesystems that are supported.
const (
	ext4 = "ext4"
	xfs  = "xfs"
)

// Exit codes of e2fsck are a sum of these.
const (
	fsckCorrected       = 1
	fsckCorrectedReboot = 2
	fsckUncorrected     = 4
)

// filesystems changes filesystems that are not mounted, with their own tools.
type filesystems struct {
	host                 *host
	runtimeDir, stateDir string
}

// check makes sure that the filesystem on an unmounted device is sound, and corrects what can be
// corrected without a choice. It says what it corrected.
func (f *filesystems) check(ctx context.Context, device Device) ([]string, error) {
	if device.Filesystem == ext4 {
		return f.checkExt4(ctx, device)
	}
	return nil, f.checkXFS(ctx, device)
}

func (f *filesystems) checkExt4(ctx context.Context, device Device) ([]string, error) {
	result, err := f.e2fsck(ctx, device, "-p")
	var exit *hostexec.ExitError
	if errors.As(err, &exit) {
		if err := tooNew(device, exit); err != nil {
			return nil, err
		}
		growing, recordErr := f.wasGrowing(device)
		switch {
		case recordErr != nil:
			return nil, recordErr
		case growing && exit.Code&fsckUncorrected != 0:
			f.host.log.Info("repairing a growth that was interrupted", "device", device.Path)
			result, err = f.e2fsck(ctx, device, "-y")
		}
	}
	if err != nil {
		return nil, broken(device, "e2fsck", err)
	}
	if result.Code == 0 {
		return nil, forgetRecord(f.growthRecord(device))
	}
	return []string{"filesystem errors corrected by e2fsck"}, forgetRecord(f.growthRecord(device))
}

// e2fsck checks an ext4 and corrects it: with "-p" what needs no choice, with "-y" everything.
func (f *filesystems) e2fsck(ctx context.Context, device Device,
	mode string) (hostexec.Result, error) {
	return f.host.exec.Run(ctx,
		hostexec.Command{Tool: "e2fsck", Args: []string{"-f", mode, "--", device.Path},
			Timeout: checkTimeout,
			OKCodes: []int{fsckCorrected, fsckCorrectedReboot,
				fsckCorrected | fsckCorrectedReboot}})
}

// checkXFS replays the log, which only the kernel can do, and checks for damage without correcting
// any.
func (f *filesystems) checkXFS(ctx context.Context, device Device) error {
	if err := f.repairUUID(ctx, device); err != nil {
		return err
	}
	err := f.peek(device, func(string) error { return nil })
	if err != nil {
		return broken(device, "mount", err)
	}
	_, err = f.host.exec.Run(ctx, hostexec.Command{Tool: "xfs_repair",
		Args:    []string{"-n", device.Path},
		Timeout: checkTimeout})
	if err != nil {
		return broken(device, "xfs_repair -n", err)
	}
	return nil
}

// broken keeps apart a filesystem that is damaged and a tool that did not get to look.
func broken(device Device, tool string, err error) error {
	damage := slices.ContainsFunc([]error{unix.EUCLEAN, unix.EBADMSG, unix.EINVAL, unix.EIO},
		func(e error) bool { return errors.Is(err, e) })
	if _, isExit := hostexec.CodeOf(err); !isExit && !damage {
		return fmt.Errorf("cannot check the filesystem on %s: %w", device.Path, err)
	}
	return refuse(errorsv1.Reason_REASON_FILESYSTEM_BROKEN,
		fmt.Sprintf("the filesystem on %s (%s) has errors that %s does not correct by itself",
			device.Path, strings.Join(device.IDs, ", "), tool),
		errs.WithHint("take another snapshot, or repair the volume on the host and call again"),
		errs.Wrap(err),
		errs.Meta("device", device.Path), errs.Meta("tool", tool))
}

// setUUID gives the filesystem on an unmounted, checked device this UUID. Done again after a crash
// in the middle, it ends well.
func (f *filesystems) setUUID(ctx context.Context, device Device, uuid string) error {
	if device.Filesystem == xfs {
		return f.setXFSUUID(ctx, device, uuid)
	}
	// With a seed of their own the checksums do not depend on the UUID: the change is one block,
	// not all metadata.
	if f.wantsSeed(ctx, device) {
		_, err := f.host.exec.Run(ctx,
			hostexec.Command{Tool: "tune2fs",
				Args: []string{"-O", "metadata_csum_seed", device.Path}, Timeout: checkTimeout})
		if err != nil {
			return toolError("prepare "+device.Path+" for a new UUID", err)
		}
	}
	_, err := f.host.exec.Run(ctx,
		hostexec.Command{Tool: "tune2fs", Args: []string{"-U", uuid, device.Path},
			Timeout: checkTimeout})
	return toolError("give "+device.Path+" a new UUID", err)
}

func (f *filesystems) wantsSeed(ctx context.Context, device Device) bool {
	result, err := f.host.exec.Run(ctx,
		hostexec.Command{Tool: "tune2fs", Args: []string{"-l", device.Path}})
	if err != nil {
		return false
	}
	features := strings.Fields(tune2fsField(string(result.Stdout), "Filesystem features"))
	return slices.Contains(features, "metadata_csum") &&
		!slices.Contains(features, "metadata_csum_seed")
}

func tune2fsField(output, name string) string {
	for line := range strings.Lines(output) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// peek mounts a checked device where no other process sees it for as long as look takes. The log of
// an XFS is replayed by it. An ext4 stays as it was checked: resize2fs takes none that was mounted
// for writing since.
func (f *filesystems) peek(device Device, look func(dir string) error) (err error) {
	if err := os.MkdirAll(f.runtimeDir, 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(f.runtimeDir, "peek-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	options, flags := "", uintptr(untrusted.DataMount|unix.MS_NOATIME)
	if device.Filesystem == xfs {
		options = "nouuid" // a copy whose original is mounted
	} else {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(device.Path, dir, device.Filesystem, flags, options); err != nil {
		return fmt.Errorf("cannot mount %s: %w", device.Path, err)
	}
	defer func() {
		if umountErr := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW); umountErr != nil {
			err = errors.Join(err, fmt.Errorf("cannot unmount %s again: %w", device.Path,
				umountErr))
		}
	}()
	return look(dir)
}

// clearPeeks removes what an agent that was killed while it peeked has left.
func (f *filesystems) clearPeeks() error {
	entries, err := f.host.mounts()
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(entries) {
		if strings.HasPrefix(e.Path, f.runtimeDir+"/peek-") {
			if err := unix.Unmount(e.Path, unix.UMOUNT_NOFOLLOW); err != nil {
				return fmt.Errorf("cannot unmount %s, left from before: %w", e.Path, err)
			}
			_ = os.Remove(e.Path)
		}
	}
	return nil
}

// makeFilesystem makes a filesystem on a device that was proved blank. No option forces it.
func (f *filesystems) makeFilesystem(ctx context.Context, device Device, filesystem,
	uuid string) error {
	command := hostexec.Command{Tool: "mkfs.ext4", Args: []string{"-q", "-U", uuid, device.Path},
		Timeout: checkTimeout}
	if filesystem == xfs {
		command = hostexec.Command{Tool: "mkfs.xfs", Args: []string{"-q", "-m", "uuid=" + uuid,
			device.Path}, Timeout: checkTimeout}
	}
	_, err := f.host.exec.Run(ctx, command)
	return toolError("make a filesystem on "+device.Path, err)
}

// toolError gives the error of a tool its kind and reason.
func toolError(what string, err error) error {
	if err == nil {
		return nil
	}
	var exit *hostexec.ExitError
	switch {
	case errors.Is(err, hostexec.ErrToolMissing):
		return refuse(errorsv1.Reason_REASON_TOOL_FAILED, "cannot "+what,
			errs.WithHint("install e2fsprogs and xfsprogs on the host"), errs.Wrap(err))
	case errors.As(err, &exit):
		return errs.New(errs.Internal, errorsv1.Reason_REASON_TOOL_FAILED, "cannot "+what,
			errs.Wrap(err),
			errs.Meta("tool", exit.Tool), errs.Meta("exit_code", fmt.Sprint(exit.Code)),
			errs.Retry(5*time.Second),
			errs.WithHint("read the agent's log on the host (journalctl -u understudy-agent), "+
				"then call again"))
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}
