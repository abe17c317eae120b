package untrusted

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"golang.org/x/sys/unix"
)

var errNotTheirs = errors.New("is no socket of that user")

// DialSocket connects to the unix socket at a path, when the socket is the user's: one that a link
// leads to may be a service of root, which does what root asks for.
func DialSocket(ctx context.Context, path string, uid int) (*net.UnixConn, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "connect", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, &fs.PathError{Op: "connect", Path: path, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFSOCK || int(stat.Uid) != uid {
		return nil, &fs.PathError{Op: "connect", Path: path, Err: errNotTheirs}
	}
	// The kernel's link is to what the descriptor holds.
	conn, err := new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, &fs.PathError{Op: "connect", Path: path, Err: err}
	}
	return conn.(*net.UnixConn), nil
}
