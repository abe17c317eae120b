package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// mostRelayed is how many connections a relay has; a tool of MariaDB's has one at a time.
const mostRelayed = 8

// relay signs MariaDB's user in as MariaDB's root: what this user sends to its socket goes to
// MariaDB's, over a connection of the agent's. A tool so needs no other right of root's. Who is
// MariaDB's user has the server's process and its files: it gains nothing by it.
type relay struct {
	listener *net.UnixListener
	to       string
	user     atomicfile.Owner
	stop     context.CancelFunc
	slots    chan struct{}
	all      sync.WaitGroup
}

// openRelay opens a relay in a directory that root's alone lead to. Its end is close.
func openRelay(ctx context.Context, dir, to string, user atomicfile.Owner) (*relay, error) {
	const what = "cannot sign a tool of MariaDB's in"
	conn, err := untrusted.DialSocket(ctx, to, user.UID)
	if err != nil {
		return nil, unsafe(errorsv1.Reason_REASON_MARIADB_SETTING, what, errs.Wrap(err),
			errs.WithHint("have MariaDB's own user listen there, then call again",
				errs.Call("RestartUnit", "unit", Unit)))
	}
	if err := conn.Close(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	listener, err := listenFor(dir, user)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	ctx, stop := context.WithCancel(ctx)
	r := &relay{listener: listener, to: to, user: user, stop: stop,
		slots: make(chan struct{}, mostRelayed)}
	r.all.Go(func() { r.serve(ctx) })
	return r, nil
}

// listenFor listens at a socket for one user, which is left where an agent was killed.
func listenFor(dir string, user atomicfile.Owner) (*net.UnixListener, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	path := filepath.Join(dir, "mysqld.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, user.UID, user.GID),
		os.Chown(dir, 0, user.GID), os.Chmod(dir, 0o710)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// socket is where MariaDB's user signs in.
func (r *relay) socket() string { return r.listener.Addr().String() }

// close ends the relay with its connections.
func (r *relay) close() {
	r.stop()
	_ = r.listener.Close() // which removes the socket
	r.all.Wait()
	_ = os.Remove(filepath.Dir(r.socket()))
}

func (r *relay) serve(ctx context.Context) {
	for {
		conn, err := r.listener.AcceptUnix()
		if err != nil {
			return
		}
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			_ = conn.Close()
			return
		}
		r.all.Go(func() {
			defer func() { <-r.slots }()
			r.carry(ctx, conn)
		})
	}
}

// carry carries one connection until one of its ends closes it.
func (r *relay) carry(ctx context.Context, from *net.UnixConn) {
	defer from.Close()
	if uid, err := peer(from); err != nil || uid != r.user.UID {
		return
	}
	to, err := untrusted.DialSocket(ctx, r.to, r.user.UID)
	if err != nil {
		return
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(ctx, func() { _, _ = from.Close(), to.Close() })()
	defer to.Close()
	var back sync.WaitGroup
	back.Go(func() {
		defer end()
		_, _ = io.Copy(from, to)
	})
	_, _ = io.Copy(to, from)
	end()
	back.Wait()
}

// peer is the user at the other end, by the kernel.
func peer(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		credentials, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || failed != nil {
		return 0, errors.Join(err, failed)
	}
	return int(credentials.Uid), nil
}
