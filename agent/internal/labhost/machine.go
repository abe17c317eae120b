//go:build lab

package labhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	scratchPrefix = "/var/tmp/understudy-labhost-"
	poll          = 20 * time.Millisecond
	killLimit     = 10 * time.Second
)

// machine is one booted system.
type machine struct {
	scratch string // on the host; /lab inside
	root    string
	name    string
	lock    *os.File
	groups  groups
	nspawn  *exec.Cmd
	leader  int
	console string
}

// newMachine takes away what killed tests have left, and prepares the root of a new machine.
func newMachine(rootfs string) (*machine, error) {
	if err := sweep(); err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp(filepath.Dir(scratchPrefix), filepath.Base(scratchPrefix))
	if err != nil {
		return nil, err
	}
	m := &machine{scratch: scratch, root: filepath.Join(scratch, "root"),
		name: filepath.Base(scratch), console: filepath.Join(scratch, "console")}
	m.groups = groups{name: m.name}
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
func sweep() error {
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
		m := &machine{scratch: scratch, root: filepath.Join(scratch, "root"),
			name: filepath.Base(scratch), lock: lock}
		m.groups = groups{name: m.name}
		faults = append(faults, m.remove())
	}
	return errors.Join(faults...)
}

// boot starts the machine and waits until its systemd has started all that it starts.
func (m *machine) boot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	console, err := os.Create(m.console)
	if err != nil {
		return err
	}
	defer console.Close()
	argv := []string{"systemd-nspawn", "--boot", "--quiet", "--register=no", "--keep-unit",
		"--settings=no", "--directory=" + m.root, "--machine=" + m.name,
		"--private-network", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
		"--console=pipe", "--bind=" + filepath.Join(m.scratch, "share") + ":" + shared}
	if err := os.Rename(filepath.Join(m.scratch, "test"),
		filepath.Join(m.scratch, "share", "test")); err != nil {
		return err
	}
	m.nspawn = m.groups.command(argv)
	m.nspawn.Env = append(m.nspawn.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	m.nspawn.Stdout, m.nspawn.Stderr = console, console
	m.nspawn.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.groups.start(m.nspawn); err != nil {
		return fmt.Errorf("cannot boot a machine: %w", err)
	}
	if m.leader, err = m.awaitLeader(ctx); err != nil {
		return fmt.Errorf("cannot boot a machine: %w: %s", err, m.consoleEnd())
	}
	return m.awaitBooted(ctx)
}

func (m *machine) awaitLeader(ctx context.Context) (int, error) {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		for _, pid := range m.groups.processes() {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil &&
				filepath.Base(exe) == "systemd" && innerPID(pid) == 1 {
				return pid, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-ticker.C:
		}
	}
}

// innerPID is the process's id in its own namespace.
func innerPID(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(ids)
			inner, _ := strconv.Atoi(fields[len(fields)-1])
			return inner
		}
	}
	return 0
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
			return fmt.Errorf("the machine did not boot within %s: %s", bootLimit, m.consoleEnd())
		case <-ticker.C:
		}
	}
}

func (m *machine) consoleEnd() string {
	data, err := os.ReadFile(m.console)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-500):])
}

// remove takes the machine away with all that belongs to it.
func (m *machine) remove() error {
	faults := []error{m.groups.kill()}
	if m.nspawn != nil && m.nspawn.Process != nil {
		_ = m.nspawn.Process.Kill() // it ended with its machine, most of the time
		_ = m.nspawn.Wait()
	}
	faults = append(faults, detachLoops(m.scratch))
	if err := unix.Unmount(m.root, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) &&
		!errors.Is(err, unix.ENOENT) {
		faults = append(faults, fmt.Errorf("cannot unmount %s: %w", m.root, err))
	}
	m.groups.remove()
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
