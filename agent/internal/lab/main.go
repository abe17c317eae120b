//go:build lab

// Package lab runs a package's tests inside a machine with a systemd of its own: the test binary
// boots one (systemd-nspawn over an overlay of the lab's image), runs itself again inside, and
// removes the machine. It is for tests alone.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	insideEnv = "UNDERSTUDY_LAB_INSIDE"
	rootfsEnv = "UNDERSTUDY_LAB_ROOTFS"
	// shared is where the scratch directory of the host is seen inside.
	shared    = "/lab"
	bootLimit = time.Minute
	agentPath = "usr/bin/understudy-agent"
	agentMain = "github.com/understudy-db/understudy/agent/cmd/understudy-agent"
)

// Options say what is in the machine besides the image.
type Options struct {
	// Agent builds the agent and puts it where it is on a host.
	Agent bool
	// Environ is os.Environ(): UNDERSTUDY_LAB_ROOTFS in it names the root of the machine.
	Environ []string
}

func (o Options) env(name string) string {
	for _, variable := range o.Environ {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// Main is to be called from TestMain: os.Exit(lab.Main(m, lab.Options{Environ:
// os.Environ()})). On the outside it answers the exit code of the tests inside.
func Main(m *testing.M, options Options) int {
	if options.env(insideEnv) != "" {
		return m.Run()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := outside(ctx, options)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return code
}

func outside(ctx context.Context, options Options) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("tests on a real host boot a machine, which needs root")
	}
	rootfs, err := findRootfs(options)
	if err != nil {
		return 1, err
	}
	machine, err := newMachine(rootfs)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, machine.remove()) }()
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	if err := copyFile(self, filepath.Join(machine.scratch, "test")); err != nil {
		return 1, err
	}
	if options.Agent {
		if err := buildAgent(ctx, filepath.Join(machine.root, agentPath)); err != nil {
			return 1, err
		}
	}
	if err := machine.boot(ctx); err != nil {
		return 1, err
	}
	return machine.test(ctx)
}

func buildAgent(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "grpcnotrace",
		"-ldflags", "-s -w", "-o", path, agentMain)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the agent: %w: %s", err, out)
	}
	return nil
}

func findRootfs(options Options) (string, error) {
	if path := options.env(rootfsEnv); path != "" {
		return path, nil
	}
	newest := NewestImage("trixie")
	if newest == "" {
		return "", fmt.Errorf("no image of a host: run `make setup`, or set %s to the root of one",
			rootfsEnv)
	}
	return newest, nil
}

// NewestImage is the root directory of the newest image of a Debian release; "" when there is none.
func NewestImage(release string) string {
	found, err := filepath.Glob("/var/cache/understudy/images/" + release + "-*/rootfs")
	if err != nil || len(found) == 0 {
		return ""
	}
	newest := func(a, b string) int { return modTime(a).Compare(modTime(b)) }
	return slices.MaxFunc(found, newest)
}

func modTime(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// test runs the test binary inside, with the flags of this one.
func (m *machine) test(ctx context.Context) (int, error) {
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool {
		// The go command's own files are not to be seen from inside.
		return strings.HasPrefix(arg, "-test.testlogfile") ||
			strings.HasPrefix(arg, "-test.gocoverdir")
	})
	cmd := m.command(ctx, append([]string{shared + "/test"}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// command runs a program inside the machine.
func (m *machine) command(ctx context.Context, argv ...string) *exec.Cmd {
	enter := []string{"--target", fmt.Sprint(m.booted.Leader), "--mount", "--uts", "--ipc", "--pid",
		"--net", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, argv...)...)
	cmd.Env = []string{insideEnv + "=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
		"HOME=/root"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}
