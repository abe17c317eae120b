package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/deploy/lab/host"
)

// Sweep removes the whole lab: machines, devices, mounts, namespaces, bridge, files.
// Everything is found by its name, so it finishes what a killed lab or a killed Sweep
// left, and a lab that is not there is a no-op. ErrInvalid when the directory is not a
// lab's, or that of another; ErrInUse when the lab is up in another directory.
func (p *Provider) Sweep(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up = false
	if err := p.checkOwnDir(); err != nil {
		return err
	}
	if err := p.lab.checkName(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(p.lab.path("lab.json")); err == nil {
		// Held to the end, when the lock's file is gone: who waits for it starts again.
		unlock, err := lockFile(ctx, p.lab.path("lock"))
		if err != nil {
			return err
		}
		defer unlock()
	}
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"machines", p.lab.sweepMachines},
		{"network", p.lab.sweepNetwork},
		{"machines' roots", func(context.Context) error { return p.lab.sweepRoots() }},
		{"volumes' devices", func(ctx context.Context) error { return p.lab.sweepLoops(ctx, "") }},
		{"pool", func(ctx context.Context) error { return unmountPool(ctx, p.lab.pool()) }},
		{"pool's device", func(ctx context.Context) error {
			return p.lab.sweepLoops(ctx,
				p.lab.path("pool.img"))
		}},
		{"files", p.lab.sweepFiles},
	}
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("cannot take down the %s of lab %s: %w", step.what, p.lab.name, err)
		}
	}
	return nil
}

func (p *Provider) checkOwnDir() error {
	var record labRecord
	err := readJSON(p.lab.path("lab.json"), &record)
	if err == nil && record.Name != p.lab.name {
		return provider.Errorf(provider.ErrInvalid, "", "%s is the directory of lab %s", p.lab.dir,
			record.Name)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	unclaimed, err := p.lab.unclaimed()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !unclaimed {
		err = provider.Errorf(provider.ErrInvalid, "",
			"%s is not the directory of a lab: it has no lab.json", p.lab.dir)
	}
	return err
}

// sweepMachines first records that no machine is to be started, so that nothing comes
// back while the rest is killed.
func (l lab) sweepMachines(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*killLimit)
	defer cancel()
	if err := l.recordTermination(); err != nil {
		return err
	}
	machines, err := allRecords[machineRecord](l, machineKind)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if err := l.killMachine(ctx, m); err != nil {
			return err
		}
	}
	// Those whose records are gone.
	h, err := host.FindGroups()
	if err != nil {
		return err
	}
	group := filepath.Dir(l.cgroup("any"))
	if err := h.Kill(ctx, group); err != nil {
		return err
	}
	h.RemoveIfEmpty(filepath.Dir(group))
	if err := l.sweepUnits(ctx); err != nil {
		return err
	}
	return removeNspawnDirs(l.key() + "-*")
}

func (l lab) recordTermination() error {
	machines, err := allRecords[machineRecord](l, machineKind)
	if err != nil {
		return err
	}
	for _, m := range machines {
		m.setPhase(phaseTerminated, "the lab was taken down", time.Now())
		if err := saveRecord(l, machineKind, m.ID, m); err != nil {
			return err
		}
	}
	return nil
}

func (l lab) sweepRoots() error {
	roots, _ := filepath.Glob(l.root("*"))
	for _, root := range roots {
		removeNspawnLock(root)
	}
	return unmountBelow(l.pool("machines"))
}

// removeNspawnLock removes the lock file that nspawn makes for a mounted root and leaves.
func removeNspawnLock(root string) {
	var st unix.Stat_t
	if unix.Stat(root, &st) == nil {
		_ = os.Remove(fmt.Sprintf("/run/systemd/nspawn/locks/inode-%d:%d", st.Dev, st.Ino))
	}
}

// sweepUnits stops what the box's systemd, if it has one, runs for the lab.
func (l lab) sweepUnits(ctx context.Context) error {
	if !host.UnderSystemd() {
		return nil
	}
	pattern := "understudy-" + l.key() + "-*.service"
	// Fails on a unit that is just ending; stopping then waits for its end.
	_, _ = tool(ctx, "", "systemctl", "kill", "--signal=SIGKILL", pattern)
	_, err := tool(ctx, "", "systemctl", "stop", pattern)
	return err
}

func (l lab) sweepNetwork(ctx context.Context) error {
	namespaces, _ := filepath.Glob(filepath.Join(netnsDir, l.key()+"-*"))
	for _, path := range namespaces {
		if err := removeNetns(path); err != nil {
			return err
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		if i.Name != l.bridge() && !strings.HasPrefix(i.Name, l.key()+"-") {
			continue
		}
		if err := deleteInterface(ctx, i.Name); err != nil {
			return err
		}
	}
	return nil
}

// deleteInterface is fine with one that went together with its namespace meanwhile.
func deleteInterface(ctx context.Context, name string) error {
	_, err := tool(ctx, "", "ip", "link", "delete", name)
	if !hasInterface(name) {
		return nil
	}
	return err
}

// sweepLoops waits for those whose mounts are going with the machines' processes. The
// pool's own comes last, by its file.
func (l lab) sweepLoops(ctx context.Context, only string) error {
	return retry(ctx, "loop devices stay in use", func() (bool, error) {
		left := false
		for n, file := range loops() {
			if !l.ownsLoop(n, file) || (only == "") == (file == l.path("pool.img")) {
				continue
			}
			left = true
			if err := dropLoop(n); err != nil {
				return false, err
			}
		}
		return !left, nil
	})
}

// unmountPool does not unmount lazily: what is still in use must not lose its files. Other
// labs' machines may hold copies of the mount, below their own root, where nobody can reach
// them (nspawn moves its root over the box's): removing the mount point ends those.
func unmountPool(ctx context.Context, pool string) error {
	return retry(ctx, pool+" stays in use", func() (bool, error) {
		mounted, err := mountinfo.Mounted(pool)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if !mounted {
			return true, removeMountPoint(pool)
		}
		err = unix.Unmount(pool, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			err = nil
		}
		return false, err
	})
}

// removeMountPoint leaves a directory that is itself the pool.
func removeMountPoint(dir string) error {
	err := os.Remove(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return err
}

func retry(ctx context.Context, failure string, try func() (done bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	ticker := time.NewTicker(killPoll)
	defer ticker.Stop()
	for {
		if done, err := try(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", failure, ctx.Err())
		case <-ticker.C:
		}
	}
}

// sweepFiles removes lab.json last: until then the directory is known as the lab's.
func (l lab) sweepFiles(context.Context) error {
	entries, err := os.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == "lab.json" {
			continue
		}
		if err := os.RemoveAll(l.path(entry.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(l.dir)
}

// removeNspawnDirs removes what nspawn makes for a machine, by its name, and leaves when it
// is killed. Newer ones refuse to start a machine that has it.
func removeNspawnDirs(name string) error {
	paths, _ := filepath.Glob("/run/systemd/nspawn/*/" + name)
	for _, path := range paths {
		if err := removeTree(path); err != nil {
			return err
		}
	}
	return nil
}
