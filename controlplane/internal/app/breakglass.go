package app

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"

	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
)

// breakGlassName is the socket in the state directory over which root says who the operators are,
// when no admin is left to do so.
const breakGlassName = "break-glass.sock"

// openBreakGlass makes the server on the socket. Without the socket the control plane works on: it
// is needed on the day on which all else is lost.
func (a *App) openBreakGlass(ctx context.Context, rules authz.Table) error {
	listener, err := listenOn(ctx, a.cfg.path(breakGlassName))
	if err != nil {
		a.log.Error("there is no break-glass: when no admin is left, nobody makes one", "error",
			err)
		return nil
	}
	a.closers = append(a.closers, listener.Close)
	a.local, err = chassis.New(chassis.Config{Listener: listener, Rules: rules, Logger: a.log,
		Audit:      a.audit,
		LocalUsers: []uint32{0, uint32(os.Geteuid())}})
	return err
}

// socket is a unix socket that goes with its listener, unless another control plane of the same
// state directory has put its own there since.
type socket struct {
	*net.UnixListener
	path string
	made fs.FileInfo
}

// listenOn takes the path over from a control plane that has ended, or that runs beside this one.
// The state directory is its user's alone, and so is the socket.
func listenOn(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	made, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	s := &socket{UnixListener: made.(*net.UnixListener), path: path}
	s.SetUnlinkOnClose(false)
	if err = os.Chmod(path, 0o600); err == nil {
		s.made, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(err, s.UnixListener.Close())
	}
	return s, nil
}

// Close stops listening. Closing twice is fine.
func (s *socket) Close() error {
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
		_ = os.Remove(s.path)
	}
	return ignoreClosed(s.UnixListener.Close())
}
