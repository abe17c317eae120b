//go:build lab

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/deploy/lab/host"
)

const (
	scratchPrefix = "/var/tmp/understudy-lab-"
	poll          = 20 * time.Millisecond
	killLimit     = 10 * time.Second
)

// machine is one booted system.
type machine struct {
	scratch string // on the host; /lab inside
	root    string
	name    string
	console string
	lock    *os.File
	groups  host.Groups
	booted  *host.Machine
}

// newMachine takes away what killed tests have left, and prepares the root of a new machine.
func newMachine(rootfs string) (*machine, error) {
	groups, err := host.FindGroups()
	if err != nil {
		return nil, err
	}
	if err := sweep(groups); err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp(filepath.Dir(scratchPrefix), filepath.Base(scratchPrefix))
	if err != nil {
		return nil, err
	}
	m := machineIn(scratch, groups)
	if m.lock, err = flock(scratch); err != nil {
		return nil, err
	}
	for _, dir := range []string{"root", "upper", "work", "share"} {
		if err := os.Mkdir(filepath.Join(scratch, dir), 0o755); err != nil {
			return nil, err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", rootfs,
		filepath.Join(scratch, "upper"), filepath.Join(scratch, "work"))
	if err := unix.Mount("overlay", m.root, "overlay", 0, options); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot lay a machine over %s: %w", rootfs, err),
			m.remove())
	}
	return m, nil
}

func machineIn(scratch string, groups host.Groups) *machine {
	return &machine{scratch: scratch, root: filepath.Join(scratch, "root"),
		name: filepath.Base(scratch), console: filepath.Join(scratch, "console"), groups: groups}
}

// flock marks the directory as in use for as long as this process lives.
func flock(dir string) (*os.File, error) {
	file, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// sweep removes the machines of tests that were killed: nobody holds their lock.
func sweep(groups host.Groups) error {
	found, err := filepath.Glob(scratchPrefix + "*")
	if err != nil {
		return err
	}
	var faults []error
	for _, scratch := range found {
		lock, err := flock(scratch)
		if err != nil {
			continue // in use
		}
		m := machineIn(scratch, groups)
		m.lock = lock
		faults = append(faults, m.remove())
	}
	return errors.Join(faults...)
}

// boot starts the machine and waits until its systemd has started all units.
func (m *machine) boot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	if err := os.Rename(filepath.Join(m.scratch, "test"),
		filepath.Join(m.scratch, "share", "test")); err != nil {
		return err
	}
	spec := host.Spec{Name: m.name, Root: m.root, Console: m.console,
		Args: []string{"--private-network",
			"--bind=" + filepath.Join(m.scratch, "share") + ":" + shared}}
	if host.UnderSystemd() {
		spec.Wrap = []string{"systemd-run", "--quiet", "--wait", "--pipe", "--collect",
			"--unit=" + m.name + ".service", "--property=Delegate=yes",
			"--setenv=SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "--"}
	}
	booted, err := m.groups.Start(ctx, spec, m.group())
	if err != nil {
		return fmt.Errorf("cannot boot a machine: %w", err)
	}
	m.booted = booted
	return m.awaitBooted(ctx)
}

// group is the control group of the machine: systemd makes it where there is one.
func (m *machine) group() string {
	if host.UnderSystemd() {
		return "/system.slice/" + m.name + ".service"
	}
	return "/" + m.name
}

func (m *machine) awaitBooted(ctx context.Context) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		out, _ := m.command(ctx, "systemctl", "is-system-running", "--wait").CombinedOutput()
		switch state := string(bytes.TrimSpace(out)); state {
		case "running", "degraded":
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the machine did not boot within %s: %s", bootLimit,
				host.LastLine(m.console))
		case <-ticker.C:
		}
	}
}

// remove takes the machine away with all that belongs to it.
func (m *machine) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	faults := []error{m.groups.Kill(ctx, m.group())}
	if m.booted != nil {
		m.booted.Kill()
	}
	faults = append(faults, detachLoops(m.scratch))
	if err := unix.Unmount(m.root, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) &&
		!errors.Is(err, unix.ENOENT) {
		faults = append(faults, fmt.Errorf("cannot unmount %s: %w", m.root, err))
	}
	faults = append(faults, os.RemoveAll(m.scratch))
	if m.lock != nil {
		m.lock.Close()
	}
	return errors.Join(faults...)
}

// detachLoops detaches the loop devices whose files are in the directory. They are known by inode:
// a path that was opened inside the machine reads differently from here.
func detachLoops(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "share", "*.img"))
	if err != nil || len(files) == 0 {
		return err
	}
	ours := map[string]bool{}
	for _, file := range files {
		var stat unix.Stat_t
		if unix.Stat(file, &stat) == nil {
			ours[fmt.Sprintf("%d %d:%d", stat.Ino, unix.Major(stat.Dev),
				unix.Minor(stat.Dev))] = true
		}
	}
	list, err := exec.Command("losetup", "--list", "--noheadings", "--output",
		"NAME,BACK-INO,BACK-MAJ:MIN").Output()
	if err != nil {
		return fmt.Errorf("cannot list loop devices: %w", err)
	}
	var faults []error
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || !ours[fields[1]+" "+fields[2]] {
			continue
		}
		if out, err := exec.Command("losetup", "--detach", fields[0]).CombinedOutput(); err != nil {
			faults = append(faults, fmt.Errorf("cannot detach %s: %s", fields[0],
				bytes.TrimSpace(out)))
		}
	}
	return errors.Join(faults...)
}
