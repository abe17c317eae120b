package nspawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/deploy/lab/host"
)

// packageOf is the Debian package of each program that is run.
var packageOf = map[string]string{
	"systemd-nspawn": "systemd-container", "debootstrap": "debootstrap", "mkfs.xfs": "xfsprogs",
	"mkfs.ext4": "e2fsprogs",
	"ip":        "iproute2", "apt-get": "apt",
}

// minimumFree is enough for an image and a few small machines.
const minimumFree = 4 << 30

// Check lists all that this box lacks.
func (p *Provider) Check(context.Context) error {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "machines need root: run this as root")
	}
	if packages := missingPackages(); len(packages) > 0 {
		missing = append(missing, "programs are missing: apt-get install "+strings.Join(packages,
			" "))
	}
	if _, err := host.FindGroups(); err != nil {
		missing = append(missing, err.Error())
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		missing = append(missing, "there is no /dev/loop-control: modprobe loop")
	}
	missing = append(missing, missingFilesystems()...)
	for _, dir := range []string{p.cfg.Dir, p.cfg.ImageCacheDir} {
		if free, at := freeBytes(dir); free < minimumFree {
			missing = append(missing,
				fmt.Sprintf(
					"%s has %d MB free, %d are needed: make room or choose another directory", at,
					free>>20, minimumFree>>20))
		}
	}
	if len(missing) > 0 {
		return provider.Errorf(provider.ErrIncorrectState, "",
			"provider nspawn cannot work here: %s", strings.Join(missing, "; "))
	}
	return nil
}

func missingPackages() []string {
	var packages []string
	for program, pkg := range packageOf {
		if _, err := exec.LookPath(program); err != nil {
			packages = append(packages, pkg)
		}
	}
	if _, err := os.Stat(archiveKeyring); err != nil {
		packages = append(packages, "debian-archive-keyring")
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

// missingFilesystems trusts that a kernel with loadable modules loads them on demand.
func missingFilesystems() []string {
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return []string{err.Error()}
	}
	var release unix.Utsname
	if err := unix.Uname(&release); err != nil {
		return []string{err.Error()}
	}
	modules := filepath.Join("/lib/modules", unix.ByteSliceToString(release.Release[:]))
	if _, err := os.Stat(modules); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var missing []string
	for _, name := range []string{"xfs", "overlay", "ext4"} {
		if !strings.Contains(string(known), "\t"+name+"\n") {
			missing = append(missing, "the kernel has no filesystem "+name+": use one that has")
		}
	}
	return missing
}

// freeBytes looks at the nearest directory that is there.
func freeBytes(dir string) (int64, string) {
	var fs unix.Statfs_t
	for unix.Statfs(dir, &fs) != nil && dir != "/" {
		dir = filepath.Dir(dir)
	}
	return int64(fs.Bavail) * fs.Bsize, dir
}
