package mount

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// growMounted grows a mounted filesystem to its device; it says whether it was smaller.
func (f *filesystems) growMounted(ctx context.Context, path, device, filesystem string) (bool,
	error) {
	before, _ := usage(path)
	command := hostexec.Command{Tool: "resize2fs", Args: []string{device}, Timeout: checkTimeout}
	if filesystem == xfs {
		command = hostexec.Command{Tool: "xfs_growfs", Args: []string{"-d", path},
			Timeout: checkTimeout}
	}
	if filesystem == ext4 {
		if room, err := f.room(ctx, device); err != nil || !room {
			return false, err
		}
		if !mayGrowMounted() {
			return false, refuse(errorsv1.Reason_REASON_TOOL_FAILED,
				fmt.Sprintf("cannot grow the filesystem at %s while it is mounted: this host's "+
					"kernel does not let the agent (no CAP_SYS_RESOURCE)", path),
				errs.WithHint("mount the volume again, which grows it first",
					errs.Call("EnsureMount", "path", path, "grow", "true")),
				errs.Meta("path", path))
		}
	}
	if _, err := f.host.exec.Run(ctx, command); err != nil {
		return false, toolError("grow the filesystem at "+path, err)
	}
	after, _ := usage(path)
	return after > before, nil
}

// growUnmounted grows a checked ext4 to its device where the kernel would not grow it once it is
// mounted, as in a container. It says whether it did.
func (f *filesystems) growUnmounted(ctx context.Context, device Device) (bool, error) {
	if device.Filesystem != ext4 || mayGrowMounted() {
		return false, nil
	}
	room, err := f.room(ctx, device.Path)
	if err != nil || !room {
		return false, err
	}
	record := f.growthRecord(device)
	if err := writeRecord(record, growthOf(device)); err != nil {
		return false, fmt.Errorf("cannot record the growth of %s: %w", device.Path, err)
	}
	_, err = f.host.exec.Run(ctx, hostexec.Command{Tool: "resize2fs", Args: []string{device.Path},
		Timeout: checkTimeout})
	if err != nil {
		return false, toolError("grow the filesystem on "+device.Path, err)
	}
	return true, forgetRecord(record)
}

// growth is on record while resize2fs grows an ext4 that is not mounted. Ended in the middle, it
// leaves one that e2fsck corrects only when it may choose; each choice then ends in the same files
// with the same content, whichever write was the last. After a crash of the host, or of a disk that
// came back, which lose writes in no order, nobody knows that.
type growth struct {
	// UUID is the filesystem's.
	UUID string `json:"uuid"`
	// Boot is the kernel's id of the boot in which it began, Disk the number by which that boot
	// tells this disk from one that was there before under its name.
	Boot string `json:"boot"`
	Disk string `json:"disk"`
}

func growthOf(device Device) growth {
	at := fmt.Sprintf("/sys/dev/block/%d:%d/", device.Major, device.Minor)
	return growth{UUID: device.UUID, Boot: readText("/proc/sys/kernel/random/boot_id"),
		// a partition has none
		Disk: cmp.Or(readText(at+"diskseq"), readText(at+"../diskseq"))}
}

// wasGrowing says whether the filesystem is one whose growth was cut off by the end of a process.
// It is not where the kernel does not say which boot and which disk this is.
func (f *filesystems) wasGrowing(device Device) (bool, error) {
	var record growth
	found, err := atomicfile.ReadJSON(f.growthRecord(device), &record)
	if err != nil {
		return false, fmt.Errorf("cannot read the record of a growth: %w", err)
	}
	now := growthOf(device)
	return found && record == now && now.Boot != "" && now.Disk != "", nil
}

func (f *filesystems) growthRecord(device Device) string {
	return f.record("ext4-growth", device)
}

// room says whether the device is larger than the ext4 on it by more than what cannot be used: a
// last group of blocks that would be too small for its own tables.
func (f *filesystems) room(ctx context.Context, device string) (bool, error) {
	result, err := f.host.exec.Run(ctx, hostexec.Command{Tool: "tune2fs",
		Args: []string{"-l", device}})
	if err != nil {
		return false, toolError("read the size of the filesystem on "+device, err)
	}
	field := func(name string) int64 {
		n, err := strconv.ParseInt(tune2fsField(string(result.Stdout), name), 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	size, err := deviceSize(device)
	if err != nil {
		return false, fmt.Errorf("cannot read the size of %s: %w", device, err)
	}
	block := field("Block size")
	tables := (field("Inode blocks per group") + 60) * block
	return size-field("Block count")*block > tables, nil
}

func deviceSize(path string) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return file.Seek(0, io.SeekEnd)
}

// mayGrowMounted says whether this process has CAP_SYS_RESOURCE, which the kernel wants for growing
// a mounted ext4.
func mayGrowMounted() bool {
	for line := range strings.Lines(readText("/proc/self/status")) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && caps>>unix.CAP_SYS_RESOURCE&1 == 1
		}
	}
	return false
}
