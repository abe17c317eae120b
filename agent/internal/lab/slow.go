//go:build lab

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// SlowWrite has a write to the filesystem be under way until goOn is called, as on a disk that
// stalls: here it waits for a pipe. Who freezes the filesystem waits for it.
func SlowWrite(t *testing.T, mount string) (goOn func()) {
	t.Helper()
	file, err := os.Create(filepath.Join(mount, "slow"))
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	thread, wrote := make(chan int), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: it is this thread that writes
		thread <- unix.Gettid()
		_, err := unix.Splice(pipe[0], nil, int(file.Fd()), nil, 1, 0)
		wrote <- errors.Join(err, file.Close())
	}()
	path := fmt.Sprintf("/proc/self/task/%d/syscall", <-thread)
	Eventually(t, time.Minute, "a write is under way", func() bool {
		now, err := os.ReadFile(path)
		return err == nil && strings.HasPrefix(string(now), fmt.Sprintf("%d ", unix.SYS_SPLICE))
	})
	goOn = sync.OnceFunc(func() {
		if err := unix.Close(pipe[1]); err != nil { // an end is as good as a byte
			t.Error(err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		unix.Close(pipe[0])
	})
	t.Cleanup(goOn)
	return goOn
}

// AwaitStuck waits until a thread of the unit's main process is in a call of the kernel that nobody
// can interrupt.
func AwaitStuck(t *testing.T, unit string) {
	t.Helper()
	Eventually(t, time.Minute, unit+" is stuck in the kernel", func() bool {
		states, err := Try("sh", "-c", "ps -L -o stat= -p $(systemctl show -P MainPID "+unit+")")
		return err == nil && strings.Contains(states, "D")
	})
}
