package nspawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// install runs in the image, in namespaces that end with it.
const install = `set -e
mount -t proc proc /proc
apt-get update
apt-get install -y --no-install-recommends "$@"
`

// addPackages makes the layer of the image's own packages, over the image of its suite. It ends
// with a rename, as buildImage does.
func addPackages(ctx context.Context, cache string, spec ImageSpec, progress func(string)) error {
	building := filepath.Join(cache, ".adding-"+spec.Suite)
	if err := removeTree(building); err != nil { // of a build that was killed
		return err
	}
	upper, work, root := filepath.Join(building, "rootfs"), filepath.Join(building, "work"),
		filepath.Join(building, "root")
	for _, dir := range []string{upper, work, root} {
		if err := makeDir(dir); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s",
		filepath.Join(imageDir(cache, spec.Suite), "rootfs"), upper, work)
	if err := unix.Mount("understudy-image", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("cannot mount the image of %s: %w", spec.Suite, err)
	}
	progress("installing " + strings.Join(spec.Packages, ", ") + " in " + spec.Suite)
	if err := installIn(ctx, root, spec.Packages); err != nil {
		return errors.Join(err, removeTree(building))
	}
	if err := trimImage(root); err != nil {
		return err
	}
	for _, dir := range []string{root, work} {
		if err := removeTree(dir); err != nil {
			return err
		}
	}
	return os.Rename(building, packagesDir(cache, spec))
}

func installIn(ctx context.Context, root string, packages []string) error {
	if err := copyFile("/etc/resolv.conf", filepath.Join(root, "etc/resolv.conf"),
		0o644); err != nil {
		return err
	}
	argv := append([]string{"-c", install, "sh"}, packages...)
	cmd := exec.CommandContext(ctx, "/bin/sh", argv...)
	cmd.Env, cmd.Dir = toolEnv(), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Cloneflags: unix.CLONE_NEWPID,
		Unshareflags: unix.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot install %s: %w: %s", strings.Join(packages, ", "), err,
			lastLine(string(out)))
	}
	return nil
}
