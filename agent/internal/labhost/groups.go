//go:build lab

package labhost

import (
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
)

// groups are the machine's own control groups. nspawn makes its payload's group below the one that
// it is started in: machines that were started from one group would end each other's units.
type groups struct{ name string }

// underSystemd is true on a host whose PID 1 is systemd: the group is made by it there.
func underSystemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

func (g groups) unit() string { return g.name + ".service" }

// command is argv, run by systemd in a unit of its own where there is a systemd.
func (g groups) command(argv []string) *exec.Cmd {
	if underSystemd() {
		argv = append([]string{"systemd-run", "--quiet", "--wait", "--pipe", "--collect",
			"--unit=" + g.unit(), "--property=Delegate=yes",
			"--setenv=SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "--"}, argv...)
	}
	return exec.Command(argv[0], argv[1:]...)
}

// roots are where the group is: in cgroup2, and beside it in name=systemd on a hybrid host.
func (g groups) roots() []string {
	if underSystemd() {
		found, _ := filepath.Glob("/sys/fs/cgroup/system.slice/" + g.unit())
		return found
	}
	var found []string
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd",
		"/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err == nil {
			found = append(found, filepath.Join(root, g.name))
		}
	}
	return found
}

// start starts the command in the group: this process goes there for a moment, since a child begins
// where its parent is.
func (g groups) start(cmd *exec.Cmd) error {
	if underSystemd() {
		return cmd.Start()
	}
	for _, dir := range g.roots() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		before, err := membership(filepath.Base(filepath.Dir(dir)))
		if err != nil {
			return err
		}
		home := filepath.Join(filepath.Dir(dir), before, "cgroup.procs")
		if err := enter(filepath.Join(dir, "cgroup.procs")); err != nil {
			return err
		}
		// the group cannot be removed while this process is in it, which remove would show
		defer func() { _ = enter(home) }()
	}
	return cmd.Start()
}

func enter(procs string) error {
	if err := os.WriteFile(procs, []byte("0"), 0); err != nil {
		return fmt.Errorf("cannot enter %s: %w", filepath.Dir(procs), err)
	}
	return nil
}

// membership is the group of this process in the hierarchy that is mounted in the directory of that
// name.
func membership(hierarchy string) (string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	wanted := "0::"
	if hierarchy == "systemd" {
		wanted = "name=systemd:"
	}
	for line := range strings.Lines(string(data)) {
		if _, group, found := strings.Cut(strings.TrimSpace(line), wanted); found {
			return group, nil
		}
	}
	return "", fmt.Errorf("this process is in no group of %s", hierarchy)
}

// processes are all in the group and below.
func (g groups) processes() []int {
	var pids []int
	for _, root := range g.roots() {
		_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Name() == "cgroup.procs" {
				pids = append(pids, numbers(path)...)
			}
			return nil // a group that goes away meanwhile has no processes
		})
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

func numbers(path string) []int {
	var list []int
	data, _ := os.ReadFile(path)
	for field := range strings.FieldsSeq(string(data)) {
		if n, err := strconv.Atoi(field); err == nil {
			list = append(list, n)
		}
	}
	return list
}

// kill ends all processes of the group and waits until they are gone.
func (g groups) kill() error {
	deadline := time.NewTimer(killLimit)
	defer deadline.Stop()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		pids := g.processes()
		if len(pids) == 0 {
			return nil
		}
		for _, root := range g.roots() {
			if err := os.WriteFile(filepath.Join(root, "cgroup.kill"), []byte("1"), 0); err == nil {
				break
			}
		}
		select {
		case <-deadline.C:
			return fmt.Errorf("the machine's processes %v do not end", pids)
		case <-ticker.C:
		}
	}
}

// remove removes the empty groups.
func (g groups) remove() {
	for _, root := range g.roots() {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				continue // removed by systemd, or by the next test
			}
		}
	}
}
