package untrusted

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// Stamp is what a write to a file, or to the names in a directory, changes. Nobody but the kernel
// sets all of it.
type Stamp struct {
	Device, Inode     uint64
	Size              int64
	Modified, Changed unix.Timespec
}

// Stamps are those of a directory, ".", and of what is in it, by name.
type Stamps map[string]Stamp

// Differs is one that is not the same in both, and says whether there is any.
func (s Stamps) Differs(other Stamps) (name string, differs bool) {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if is, there := other[name]; !there || is != s[name] {
			return name, true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(other)) {
		if _, there := s[name]; !there {
			return name, true
		}
	}
	return "", false
}

// Stamps are those of the directory and of what is in it. Deep, they are also those of what is in
// its directories, unless another filesystem is mounted there.
func (d *Dir) Stamps(ctx context.Context, deep bool) (Stamps, error) {
	all := Stamps{}
	return all, d.stamp(ctx, all, ".", deep)
}

func (d *Dir) stamp(ctx context.Context, all Stamps, at string, deep bool) error {
	entries, err := d.Entries()
	if err != nil {
		return err
	}
	if err := d.stampOne(all, at, "."); err != nil {
		return err
	}
	for _, entry := range entries {
		if ctx.Err() != nil {
			return fmt.Errorf("cannot see all of %s: %w", d.Path(), ctx.Err())
		}
		name := path.Join(at, entry.Name())
		if err := d.stampOne(all, name, entry.Name()); err != nil {
			return err
		}
		if !deep || !entry.IsDir() {
			continue
		}
		if err := d.stampBelow(ctx, all, name, entry.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) stampBelow(ctx context.Context, all Stamps, at, name string) error {
	below, err := d.Sub(name)
	if errors.Is(err, unix.EXDEV) {
		return nil
	}
	if err != nil {
		return err
	}
	defer below.Close()
	return below.stamp(ctx, all, at, false)
}

func (d *Dir) stampOne(all Stamps, as, name string) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(d.Fd(), name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return d.failed("stat", name, err)
	}
	all[as] = Stamp{Device: stat.Dev, Inode: stat.Ino, Size: stat.Size, Modified: stat.Mtim,
		Changed: stat.Ctim}
	return nil
}
