package freeze

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Guard is the process that freezes on behalf of a caller, and thaws when the caller asks, goes
// away, or when the limit is over. It is another process than the caller's, so that the caller's
// death thaws as well.
type Guard struct {
	// Path is the mount point.
	Path string
	// Limit is the hard limit, counted from before the freeze.
	Limit time.Duration
	// Socket is where the caller listens. The freeze lasts as long as this connection.
	Socket string
	// Marker is a file that exists while this guard may have frozen the filesystem; see ThawMarked.
	Marker string
}

// Report is what a Guard says, one JSON object a line.
type Report struct {
	// Frozen is true in the first report, and false in the last.
	Frozen bool `json:"frozen"`
	// Lasted is how long the filesystem was frozen; in the last report.
	Lasted time.Duration `json:"lasted,omitempty"`
	// Expired says that the limit ended it.
	Expired bool `json:"expired,omitempty"`
	// Busy is true when another process had frozen it already.
	Busy bool `json:"busy,omitempty"`
	// Error says why it was not frozen, or not thawed.
	Error string `json:"error,omitempty"`
}

// Run freezes, waits and thaws. It returns when the filesystem is thawed.
func (g Guard) Run(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", g.Socket)
	if err != nil {
		return fmt.Errorf("cannot reach the one who asked for the freeze: %w", err)
	}
	defer conn.Close()
	report, err := g.freeze(ctx, conn)
	// The caller may be gone; what counts is done.
	_ = say(conn, report)
	return err
}

func (g Guard) freeze(ctx context.Context, conn net.Conn) (Report, error) {
	filesystem, err := Open(g.Path)
	if err != nil {
		return Report{Error: err.Error()}, err
	}
	defer filesystem.Close()
	ctx, cancel := context.WithTimeout(ctx, g.Limit)
	defer cancel()
	go func() { // the caller says nothing more: whatever comes, an end above all, means thaw
		_, _ = bufio.NewReader(conn).ReadByte()
		cancel()
	}()
	if err := os.WriteFile(g.Marker, []byte(g.Path), 0o600); err != nil {
		return Report{Error: err.Error()}, fmt.Errorf("cannot freeze %s: %w", g.Path, err)
	}
	if err := filesystem.Freeze(); err != nil {
		return Report{Error: err.Error(), Busy: errors.Is(err, ErrFrozen)},
			errors.Join(err, os.Remove(g.Marker))
	}
	frozen := time.Now()
	if say(conn, Report{Frozen: true}) != nil {
		cancel()
	}
	<-ctx.Done()
	thawed, err := filesystem.Thaw()
	report := Report{Lasted: time.Since(frozen),
		Expired: errors.Is(ctx.Err(), context.DeadlineExceeded)}
	switch {
	case err != nil:
		report.Error = err.Error()
		return report, err // the marker stays: what runs after this process tries again
	case !thawed:
		report.Error = "another process thawed it before"
	}
	return report, os.Remove(g.Marker)
}

func say(conn net.Conn, report Report) error {
	line, err := json.Marshal(report)
	if err != nil {
		return err
	}
	_, err = conn.Write(append(line, '\n'))
	return err
}

// ThawMarked thaws what a guard that was killed has left frozen, or freezes still; unit is the
// guard's. Without the marker it does nothing: the freeze is another process's.
func ThawMarked(ctx context.Context, path, marker, unit string) error {
	if _, err := os.Stat(marker); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := Outlast(ctx, path, unit); err != nil {
		return err // the marker stays, for whoever tries again
	}
	if err := os.Remove(marker); !errors.Is(err, fs.ErrNotExist) {
		return err // nil, unless another one that thaws was faster
	}
	return nil
}

// Listen makes the socket that only this user reaches, for a process that is to be started.
func Listen(socket string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}
