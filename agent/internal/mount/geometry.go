package mount

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// containers are what blkid finds where a filesystem is not on the volume itself, for users.
var containers = map[string]string{
	"LVM2_member":       "a physical volume of LVM",
	"linux_raid_member": "a part of a software RAID",
	"crypto_LUKS":       "a volume encrypted with LUKS",
	"zfs_member":        "a part of a ZFS pool",
}

// checkFits refuses a device that is smaller than the filesystem on it: a volume that was made too
// small, or shrunk.
func checkFits(device Device) error {
	size, err := filesystemBytes(device.Path, device.Filesystem)
	if err != nil {
		return fmt.Errorf("cannot read the size of the filesystem on %s: %w", device.Path, err)
	}
	if size <= device.SizeBytes {
		return nil
	}
	return refuse(errorsv1.Reason_REASON_DEVICE_WRONG,
		fmt.Sprintf("%s is smaller than the filesystem on it: %d MiB of %d MiB", device.Path,
			device.SizeBytes>>20, size>>20),
		errs.WithHint(fmt.Sprintf("have a volume of at least %d MiB made from the snapshot",
			(size+1<<20-1)>>20)),
		errs.Meta("device", device.Path))
}

// filesystemBytes is the size of a filesystem by its superblock. One that cannot be is none: the
// check of the filesystem says what it is.
func filesystemBytes(path, filesystem string) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var block [2048]byte
	if _, err := io.ReadFull(file, block[:]); err != nil {
		return 0, err
	}
	if filesystem == xfs {
		return sized(binary.BigEndian.Uint64(block[8:]),
			uint64(binary.BigEndian.Uint32(block[4:]))), nil
	}
	const (
		logBlockSize, incompatible, blocksHigh = 0x18, 0x60, 0x150
		is64Bit                                = 0x80
	)
	ext := block[1024:]
	little := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(ext[at:])) }
	blocks := little(4)
	if little(incompatible)&is64Bit != 0 {
		blocks |= little(blocksHigh) << 32
	}
	return sized(blocks, 1024<<min(little(logBlockSize), 6)), nil
}

func sized(blocks, size uint64) int64 {
	const most = 1 << 60 // more than any filesystem; a superblock may hold anything
	if size != 0 && blocks > most/size {
		return 0
	}
	return int64(blocks * size)
}

// tooNew is the error of an ext4 with features that this host's e2fsck does not know; nil for any
// other failure of it.
func tooNew(device Device, exit *hostexec.ExitError) error {
	_, features, found := strings.Cut(exit.Output, "unsupported feature(s):")
	if !found {
		return nil
	}
	features, _, _ = strings.Cut(features, "\n")
	return refuse(errorsv1.Reason_REASON_DEVICE_WRONG,
		fmt.Sprintf("the ext4 on %s has features that e2fsck of this host does not know: %s",
			device.Path, strings.Join(strings.Fields(features), " ")),
		errs.WithHint("use an image with an e2fsprogs that knows them, or take the features off "+
			"the primary's filesystem (tune2fs -O ^FEATURE) and take another snapshot"),
		errs.Meta("device", device.Path))
}
