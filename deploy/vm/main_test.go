//go:build vm

package vm

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const (
	inside  = "VM_INSIDE"
	bridge  = "machines"
	network = "10.77.0." // of the machines and this box, in a namespace of its own
	gateway = network + "1"
)

// TestMain runs the tests in namespaces of their own: their network meets no other, and whatever
// they started ends with them, however they end.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(runInside())
	}
	if err := makeNamespaces(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func runInside() int {
	runtime.LockOSThread() // the kernel sends Pdeathsig when this thread ends
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "cannot run the tests in namespaces of their own, as root:", err)
		return 1
	}
	if cmd.ProcessState.Success() {
		return 0
	}
	return 1
}

// makeNamespaces mounts what this process's namespaces show, and makes the machines' network.
func makeNamespaces() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make the mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	return ip("link set lo up", "link add "+bridge+" type bridge forward_delay 0 stp_state 0",
		"address add "+gateway+"/24 dev "+bridge, "link set "+bridge+" up")
}

func ip(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", lines, err, out)
	}
	return nil
}
