package chassis

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"

	"google.golang.org/grpc"
)

// socket is a unix socket that goes with its listener, unless another program has put its own there
// since.
type socket struct {
	*net.UnixListener
	path string
	made fs.FileInfo
}

// ListenLocal listens on a unix socket for Config.LocalUsers. It takes the path over from a program
// that has ended, or that runs beside this one. The socket is its user's alone (0600), and its
// directory must be.
func ListenLocal(ctx context.Context, path string) (net.Listener, error) {
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
	if err := s.UnixListener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Both are two servers with the same services, one for the network and one on a socket.
type Both []grpc.ServiceRegistrar

// RegisterService adds a service to each.
func (b Both) RegisterService(desc *grpc.ServiceDesc, service any) {
	for _, server := range b {
		server.RegisterService(desc, service)
	}
}
