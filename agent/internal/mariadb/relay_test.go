package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// nobody is MariaDB's user of these tests.
var nobody = atomicfile.Owner{UID: 65534, GID: 65534}

// service listens at a socket of a user, answers with the user of who connects, and counts them.
func service(t *testing.T, path string, of int) *atomic.Int64 {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		err = os.Chown(path, of, of)
	}
	if err != nil {
		t.Fatal(err)
	}
	var count atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.AcceptUnix()
			if err != nil {
				return
			}
			uid, _ := peer(conn)
			buffer := make([]byte, 16)
			if n, _ := conn.Read(buffer); n > 0 {
				count.Add(1)
				fmt.Fprintf(conn, "%s from %d", buffer[:n], uid)
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return &count
}

// asks sends a word to a socket as a user, and answers what comes back.
func asks(path string, uid int) (string, error) {
	var answer string
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and the thread ends with its user
		if _, _, no := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(uid), uintptr(uid),
			uintptr(uid)); no != 0 {
			failed = no
			return
		}
		if _, _, no := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid),
			uintptr(uid)); no != 0 {
			failed = no
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			failed = err
			return
		}
		defer unix.Close(fd)
		if failed = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); failed != nil {
			return
		}
		if _, err := unix.Write(fd, []byte("hello")); err != nil {
			return // it was closed already
		}
		buffer := make([]byte, 64)
		n, _ := unix.Read(fd, buffer)
		answer = string(buffer[:max(n, 0)])
	}()
	<-done
	return answer, failed
}

func relayed(t *testing.T) (dir, socket string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, who signs others in")
	}
	base, err := os.MkdirTemp("/tmp", "relay") //nolint:usetesting // others have to get there
	if err == nil {
		err = os.Chmod(base, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	return filepath.Join(base, "up"), filepath.Join(base, "mysqld.sock")
}

func TestARelaySignsOneUserIn(t *testing.T) {
	t.Parallel()
	dir, socket := relayed(t)
	service(t, socket, nobody.UID)
	r, err := openRelay(t.Context(), dir, socket, nobody)
	if err != nil {
		t.Fatal(err)
	}
	for range mostRelayed + 1 { // one after the other
		if answer, err := asks(r.socket(), nobody.UID); err != nil || answer != "hello from 0" {
			t.Errorf("%q, %v", answer, err)
		}
	}
	if answer, _ := asks(r.socket(), 0); answer != "" {
		t.Errorf("root was answered: %q", answer)
	}
	if answer, err := asks(r.socket(), 65533); !errors.Is(err, unix.EACCES) {
		t.Errorf("another user got there: %q, %v", answer, err)
	}
	r.close()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}

// TestARelayLeadsToMariaDBAlone: systemd and D-Bus do for root what is said to their sockets, and
// MariaDB's user says where its own is.
func TestARelayLeadsToMariaDBAlone(t *testing.T) {
	t.Parallel()
	dir, socket := relayed(t)
	ofRoot := filepath.Join(filepath.Dir(socket), "root.sock")
	asked := service(t, ofRoot, 0)
	service(t, socket, nobody.UID)
	r, err := openRelay(t.Context(), dir, socket, nobody)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := errors.Join(os.Remove(socket), os.Symlink(ofRoot, socket)); err != nil {
		t.Fatal(err)
	}
	if answer, err := asks(r.socket(), nobody.UID); err != nil || answer != "" {
		t.Errorf("answered: %q, %v", answer, err)
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("root's service was asked %d times", n)
	}
	if again, err := openRelay(t.Context(), dir, socket,
		nobody); errs.KindOf(err) != errs.FailedPrecondition {
		t.Errorf("%v, %v", again, err)
	}
}

// TestARelayEndsWithItsCall ends one in the middle of a connection, and opens the next where an
// agent was killed.
func TestARelayEndsWithItsCall(t *testing.T) {
	t.Parallel()
	dir, socket := relayed(t)
	service(t, socket, nobody.UID)
	if _, err := listenFor(dir, nobody); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := openRelay(ctx, dir, socket, nobody)
	if err != nil {
		t.Fatal(err)
	}
	connected := make(chan string, 1)
	go func() {
		answer, err := asks(r.socket(), nobody.UID)
		connected <- fmt.Sprint(answer, err)
	}()
	if got := <-connected; got != "hello from 0<nil>" {
		t.Error(got)
	}
	cancel()
	r.close()
	if answer, err := asks(r.socket(), nobody.UID); err == nil {
		t.Errorf("answered %q", answer)
	}
}
