package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
)

const killPoll = 5 * time.Millisecond

// Groups are the cgroup trees that systemd uses: cgroup2 always, and on a hybrid box the v1 tree
// name=systemd beside it. A group has the same path in both, and begins with "/".
type Groups struct {
	unified string
	named   string
}

// FindGroups finds the mount points of the trees.
func FindGroups() (Groups, error) {
	var found Groups
	_, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		switch {
		case m.FSType == "cgroup2" && found.unified == "":
			found.unified = m.Mountpoint
		case m.FSType == "cgroup" && slices.Contains(strings.Split(m.VFSOptions, ","),
			"name=systemd"):
			found.named = m.Mountpoint
		}
		return true, false
	})
	if err == nil && found.unified == "" {
		err = errors.New("no cgroup2 filesystem is mounted: mount one, for example with " +
			"mount -t cgroup2 cgroup2 /sys/fs/cgroup")
	}
	return found, err
}

func (g Groups) roots() []string {
	if g.named == "" {
		return []string{g.unified}
	}
	return []string{g.unified, g.named}
}

// Enter moves this process into the group. It makes the group if it is absent.
func (g Groups) Enter(group string) error {
	for _, root := range g.roots() {
		if err := enter(filepath.Join(root, group)); err != nil {
			return err
		}
	}
	return nil
}

func enter(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("cannot enter control group %s: %w", dir, err)
	}
	return nil
}

// start starts the command in the group. A child begins in its parent's group, so this process
// enters the group, starts the child, and returns to the group it was in.
func (g Groups) start(cmd *exec.Cmd, group string) error {
	var before []string
	for _, root := range g.roots() {
		own, err := g.own(root)
		if err != nil {
			return err
		}
		before = append(before, filepath.Join(root, own))
	}
	err := g.Enter(group)
	if err == nil {
		err = cmd.Start()
	}
	for _, dir := range before {
		err = errors.Join(err, enter(dir))
	}
	return err
}

// Own is the cgroup2 group of this process.
func (g Groups) Own() (string, error) { return g.own(g.unified) }

func (g Groups) own(root string) (string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	tree := "0::"
	if root == g.named {
		tree = "name=systemd:"
	}
	for line := range strings.Lines(string(data)) {
		if _, group, ok := strings.Cut(strings.TrimSpace(line), tree); ok {
			return group, nil
		}
	}
	return "", fmt.Errorf("this process is in no control group of %s", root)
}

// Processes are the ids of all processes in the group and below.
func (g Groups) Processes(group string) []int {
	var pids []int
	_ = filepath.WalkDir(filepath.Join(g.unified, group),
		func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Name() == "cgroup.procs" {
				list, _ := os.ReadFile(path) // a group that is just removed has no processes
				for field := range strings.FieldsSeq(string(list)) {
					if pid, err := strconv.Atoi(field); err == nil {
						pids = append(pids, pid)
					}
				}
			}
			return nil
		})
	return pids
}

// Kill ends every process in the group and below, and removes the groups. A killed group must not
// be used again: Linux counts the kills of each group, and kills what is cloned straight into a
// group with another count than its parent's (observed with 6.18), so that a machine booted there
// could start no unit.
func (g Groups) Kill(ctx context.Context, group string) error {
	dir := filepath.Join(g.unified, group)
	ticker := time.NewTicker(killPoll)
	defer ticker.Stop()
	for {
		if populated(dir) {
			thaw(dir)
			err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot kill control group %s: %w", dir, err)
			}
		} else if g.remove(group) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes in control group %s do not end: %w", dir, ctx.Err())
		case <-ticker.C:
		}
	}
}

func populated(dir string) bool {
	events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	return err == nil && strings.Contains(string(events), "populated 1")
}

// remove removes an empty group and those below it in all trees. It is false while one of them is
// in use: a process ends a moment before its group is free.
func (g Groups) remove(group string) bool {
	removed := true
	for _, root := range g.roots() {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(root, group),
			func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
		for _, dir := range slices.Backward(dirs) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				removed = false
			}
		}
	}
	return removed
}

// RemoveIfEmpty removes a group in which nothing is left.
func (g Groups) RemoveIfEmpty(group string) {
	for _, root := range g.roots() {
		_ = os.Remove(filepath.Join(root, group))
	}
}
