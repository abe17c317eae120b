package mariadb

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// Volume is the filesystem of a datadir.
type Volume struct {
	// Mount is where the filesystem's own root is mounted; where only a part of it is (a bind
	// mount), that part.
	Mount string
	// Whole is true when Mount is the filesystem's own root.
	Whole bool
	// Device is the block device, UUID and Type are the filesystem's.
	Device, UUID, Type string
	// Path is the datadir's path below the filesystem's root.
	Path string
	// Number is "major:minor" of its device; major 0 is none that is a block device.
	Number string
	// MountID is an id of its mount that no other mount ever gets; 0 before Linux 6.8, and where
	// another filesystem was mounted there meanwhile. The number of a device comes again.
	MountID uint64
	// UsedBytes and FreeBytes are its room.
	UsedBytes, FreeBytes int64
}

// Locate is the filesystem that a path is on, without its UUID and its room: it starts no process.
func Locate(path string) (Volume, error) {
	real, err := untrusted.Resolve(path)
	if err != nil {
		return Volume{}, fmt.Errorf("cannot find the filesystem of %s: %w", path, err)
	}
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return Volume{}, fmt.Errorf("cannot read the mounts: %w", err)
	}
	v, err := locate(mounts, real)
	if err == nil {
		v.MountID = mountID(v.Mount, v.Number)
	}
	return v, err
}

// IsOther is true when that is known to be another filesystem, or another mount of it.
func (v Volume) IsOther(number string, mountID uint64) bool {
	return v.Number != number || v.MountID != 0 && mountID != 0 && v.MountID != mountID
}

// volumes finds filesystems.
type volumes struct {
	exec  Exec
	uuids sync.Map // unique mount id -> UUID: it cannot change while it is mounted
}

// of is the filesystem of a path that exists.
func (vs *volumes) of(ctx context.Context, path string) (Volume, error) {
	v, err := Locate(path)
	if err != nil {
		return Volume{}, err
	}
	dir, err := untrusted.Open(path)
	if err != nil {
		return Volume{}, fmt.Errorf("cannot see the room on %s: %w", v.Mount, err)
	}
	defer dir.Close()
	room, err := dir.Room()
	if err != nil {
		return Volume{}, fmt.Errorf("cannot see the room on %s: %w", v.Mount, err)
	}
	v.UsedBytes = int64(room.Blocks-room.Bfree) * room.Bsize
	v.FreeBytes = int64(room.Bavail) * room.Bsize
	v.UUID = vs.filesystemUUID(ctx, v)
	return v, nil
}

// locate is the mount of a path, and the mount of the whole filesystem where there is
// one.
func locate(mounts []*mountinfo.Info, path string) (Volume, error) {
	var in *mountinfo.Info
	for _, m := range mounts { // later mounts hide earlier ones
		if within(path, m.Mountpoint) && (in == nil || len(m.Mountpoint) >= len(in.Mountpoint)) {
			in = m
		}
	}
	if in == nil {
		return Volume{}, fmt.Errorf("cannot find the filesystem of %s: no mount has it", path)
	}
	v := Volume{Mount: in.Mountpoint, Whole: in.Root == "/", Device: in.Source, Type: in.FSType,
		Number: fmt.Sprintf("%d:%d", in.Major, in.Minor),
		Path:   filepath.Join(in.Root, strings.TrimPrefix(path, in.Mountpoint))}
	for _, m := range mounts {
		if !v.Whole && m.Major == in.Major && m.Minor == in.Minor && m.Root == "/" {
			v.Mount, v.Whole = m.Mountpoint, true
		}
	}
	return v, nil
}

func within(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// filesystemUUID probes the device itself; empty when that tells nothing. What it finds it keeps
// for as long as the filesystem is mounted, where the kernel tells one mount from all others.
func (vs *volumes) filesystemUUID(ctx context.Context, v Volume) string {
	if known, ok := vs.uuids.Load(v.MountID); ok {
		return known.(string)
	}
	if !strings.HasPrefix(v.Device, "/dev/") {
		return ""
	}
	result, err := vs.exec.Run(ctx,
		hostexec.Command{Tool: "blkid", Args: []string{"-p", "-s", "UUID", "-o", "value", "--",
			v.Device}})
	uuid := strings.TrimSpace(string(result.Stdout))
	if err != nil || uuid == "" {
		return ""
	}
	if v.MountID != 0 {
		vs.uuids.Store(v.MountID, uuid)
	}
	return uuid
}

// mountID is the id of the mount at a path, which the kernel never gives to another mount; 0 before
// Linux 6.8, and when what is mounted there is not on the device of that number. The id in
// mountinfo is given again once its mount is gone.
func mountID(path, number string) uint64 {
	var at unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID_UNIQUE, &at)
	if err != nil || at.Mask&unix.STATX_MNT_ID_UNIQUE == 0 ||
		fmt.Sprintf("%d:%d", at.Dev_major, at.Dev_minor) != number {
		return 0
	}
	return at.Mnt_id
}

// mark writes a file into the directory that is ours on the volume.
func (v Volume) mark(path, text string) error {
	volume, err := untrusted.Open(v.Mount)
	if err != nil {
		return err
	}
	defer volume.Close()
	ours, _, err := volume.MakeSub(filepath.Dir(path), 0o755)
	if err != nil {
		return err
	}
	defer ours.Close()
	if _, err := ours.Keep(atomicfile.Owner{}); err != nil {
		return err
	}
	return ours.Write(filepath.Base(path), []byte(text+"\n"), 0o644)
}

// DatadirMount is the mount point of the filesystem that the running server's datadir is on.
func (s *Server) DatadirMount(ctx context.Context) (string, error) {
	const what = "cannot find the volume of the datadir"
	if err := s.require(ctx, what); err != nil {
		return "", err
	}
	volume, err := s.datadirVolume(ctx)
	return volume.Mount, failure(what, err)
}

func (s *Server) datadirVolume(ctx context.Context) (Volume, error) {
	v, err := variables(ctx, s.db, "datadir")
	if err != nil {
		return Volume{}, err
	}
	return s.volumes.of(ctx, v["datadir"])
}
