package nspawn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const archiveKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// BuildImage builds what the named image is made of unless it is in the cache: the Debian image of
// its suite, and the layer of its packages. Builders of one suite wait for each other, over
// processes.
func (p *Provider) BuildImage(ctx context.Context, name string, progress func(string)) error {
	spec, err := p.spec(name)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(string) {}
	}
	if _, ready, err := isBuilt(p.cfg.ImageCacheDir, spec); ready || err != nil {
		return err
	}
	if err := os.MkdirAll(p.cfg.ImageCacheDir, 0o755); err != nil {
		return err
	}
	unlock, err := lockFile(ctx, filepath.Join(p.cfg.ImageCacheDir, spec.Suite+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	return ensureImage(ctx, p.cfg.ImageCacheDir, spec, progress)
}

func ensureImage(ctx context.Context, cache string, spec ImageSpec, progress func(string)) error {
	if _, ready, err := isBuilt(cache, spec); ready || err != nil {
		return err
	}
	_, below, err := readImage(cache, spec.Suite)
	if err == nil && !below {
		err = buildImage(ctx, cache, spec.Suite, progress)
	}
	if err == nil && len(spec.Packages) > 0 {
		err = addPackages(ctx, cache, spec, progress)
	}
	if err != nil {
		return fmt.Errorf("cannot build image %s: %w", spec.Suite, err)
	}
	return nil
}

// buildImage ends with a rename: before it there is no image, after it a whole one.
func buildImage(ctx context.Context, cache, suite string, progress func(string)) error {
	building := filepath.Join(cache, ".building-"+suite)
	if err := removeTree(building); err != nil { // of a build that was killed
		return err
	}
	mirror, err := findMirror(ctx, suite)
	if err != nil {
		return err
	}
	progress("building " + suite + " from " + mirror)
	rootfs := filepath.Join(building, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return err
	}
	if err := debootstrap(ctx, suite, rootfs, mirror, progress); err != nil {
		return errors.Join(err, removeTree(building))
	}
	progress("trimming " + suite)
	if err := trimImage(rootfs); err != nil {
		return err
	}
	version, err := installedVersion(rootfs, "mariadb-server")
	if err != nil {
		return err
	}
	record := imageRecord{Suite: suite, Mirror: mirror, MariaDBVersion: version}
	if err := writeJSON(filepath.Join(building, "image.json"), record); err != nil {
		return err
	}
	if err := os.Chmod(building, 0o755); err != nil {
		return err
	}
	progress("built " + suite + " with MariaDB " + version)
	return os.Rename(building, imageDir(cache, suite))
}

// findMirror asks apt where this box gets its Debian from: the suite may be another, but
// the mirror has all of them. Boxes that are not Debian have the project's own.
func findMirror(ctx context.Context, suite string) (string, error) {
	out, err := tool(ctx, "", "apt-get", "indextargets", "--format",
		"$(REPO_URI) $(RELEASE) $(ORIGIN)", "Created-By: Packages")
	if err != nil {
		return "", fmt.Errorf("cannot ask apt for its mirror: %w", err)
	}
	fallback := ""
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(fields[0], "http") ||
			strings.Contains(fields[0], "security") {
			continue
		}
		if fields[1] == suite {
			return fields[0], nil
		}
		if _, isSuite := suiteSeries[fields[1]]; isSuite && fallback == "" {
			fallback = fields[0]
		}
	}
	if fallback == "" {
		return "", fmt.Errorf(
			"apt knows no mirror of Debian: add one for %s to /etc/apt/sources.list", suite)
	}
	return fallback, nil
}

func debootstrap(ctx context.Context, suite, rootfs, mirror string, progress func(string)) error {
	cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--keyring="+archiveKeyring,
		"--include="+strings.Join(imagePackages, ","), suite, rootfs, mirror)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = toolEnv()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	last := ""
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		last = scanner.Text()
		progress(last)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("debootstrap failed: %w: %s", err, last)
	}
	return nil
}

// trimImage removes what a machine must not share with others and what it never needs,
// and stamps the rest as up to date, so that the first boot does no housekeeping.
func trimImage(rootfs string) error {
	for _, path := range []string{"var/lib/apt/lists", "var/cache/apt", "var/log/bootstrap.log",
		"etc/machine-id", "etc/resolv.conf",
		"var/lib/dbus/machine-id", "etc/hostname", "usr/share/man", "var/cache/debconf",
		"var/lib/mysql/debian-cache"} {
		if err := os.RemoveAll(filepath.Join(rootfs, path)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"var/cache/apt/archives/partial", "var/lib/apt/lists/partial",
		"srv/mariadb"} {
		if err := os.MkdirAll(filepath.Join(rootfs, dir), 0o755); err != nil {
			return err
		}
	}
	for _, unit := range uselessUnits {
		if err := maskUnit(rootfs, unit); err != nil {
			return err
		}
	}
	return stampUpdated(rootfs)
}

// stampUpdated satisfies ConditionNeedsUpdate= of units such as ldconfig.service.
func stampUpdated(rootfs string) error {
	usr, err := os.Stat(filepath.Join(rootfs, "usr"))
	if err != nil {
		return err
	}
	for _, path := range []string{"etc/.updated", "var/.updated"} {
		stamp := filepath.Join(rootfs, path)
		content := fmt.Sprintf("TIMESTAMP_NSEC=%d\n", usr.ModTime().UnixNano())
		if err := os.WriteFile(stamp, []byte(content), 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(stamp, time.Time{}, usr.ModTime()); err != nil {
			return err
		}
	}
	return nil
}

func maskUnit(rootfs, unit string) error {
	link := filepath.Join(rootfs, "etc/systemd/system", unit)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	return os.Symlink("/dev/null", link)
}

// installedVersion is the upstream version of a package, read from dpkg's own records.
func installedVersion(rootfs, name string) (string, error) {
	f, err := os.Open(filepath.Join(rootfs, "var/lib/dpkg/status"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	current := ""
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if pkg, ok := strings.CutPrefix(scanner.Text(), "Package: "); ok {
			current = pkg
		}
		if version, ok := strings.CutPrefix(scanner.Text(), "Version: "); ok && current == name {
			_, version, _ = strings.Cut(version, ":")
			version, _, _ = strings.Cut(version, "-")
			return version, nil
		}
	}
	return "", errors.Join(fmt.Errorf("package %s is not in the image", name), scanner.Err())
}

// removeTree removes a directory after unmounting what a killed tool left mounted in it.
func removeTree(dir string) error {
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
