package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
)

const killPoll = 5 * time.Millisecond

// hierarchies are the mount points of the cgroup trees that systemd uses: cgroup2 always,
// and on a hybrid box name=systemd beside it.
type hierarchies struct {
	unified string
	named   string
}

func findHierarchies() (hierarchies, error) {
	var found hierarchies
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
		err = errors.New("no cgroup2 filesystem is mounted: mount one, such as with: mount -t " +
			"cgroup2 cgroup2 /sys/fs/cgroup")
	}
	return found, err
}

func (h hierarchies) roots() []string {
	if h.named == "" {
		return []string{h.unified}
	}
	return []string{h.unified, h.named}
}

// enter moves this process into the group, which it makes if need be.
func (h hierarchies) enter(group string) error {
	for _, root := range h.roots() {
		dir := filepath.Join(root, group)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("cannot enter control group %s: %w", dir, err)
		}
	}
	return nil
}

// kill ends every process in the group and below and removes the groups. A group that was
// killed must not be used again: Linux counts the kills of each group, and kills whatever is
// cloned straight into one with another count than its parent's (seen with 6.18), so a
// machine that was booted there could not start a single unit.
func (h hierarchies) kill(ctx context.Context, group string) error {
	dir := filepath.Join(h.unified, group)
	ticker := time.NewTicker(killPoll)
	defer ticker.Stop()
	for {
		if populated(dir) {
			thaw(dir)
			err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot kill control group %s: %w", dir, err)
			}
		} else if h.remove(group) {
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

// remove removes an empty group and those below it, in all hierarchies. False when one is
// still in use: a process leaves a moment before its group lets go of it.
func (h hierarchies) remove(group string) bool {
	removed := true
	for _, root := range h.roots() {
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

// removeIfEmpty removes the group that all labs share when this was the last.
func (h hierarchies) removeIfEmpty(group string) {
	for _, root := range h.roots() {
		_ = os.Remove(filepath.Join(root, group))
	}
}

// ownGroup is the cgroup2 group that this process is in.
func ownGroup() (string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return group, nil
		}
	}
	return "", errors.New("this process is in no cgroup2 group")
}
