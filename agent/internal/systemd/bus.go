package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// bus is the connection to systemd, made again whenever it was lost.
type bus struct {
	mu     sync.Mutex
	conn   *dbus.Conn
	closed bool
	hub    hub
	log    *slog.Logger
}

func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.conn != nil {
		b.conn.Close()
		b.conn = nil
	}
}

// connect is the live connection; it connects again when that is closed.
func (b *bus) connect(ctx context.Context) (*dbus.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, down(errors.New("the agent is stopping"))
	}
	if b.conn != nil && b.conn.Connected() {
		return b.conn, nil
	}
	if b.conn != nil {
		b.conn.Close()
		b.conn = nil
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil, down(err)
	}
	b.conn = conn
	b.hub.feedFrom(conn)
	return conn, nil
}

// dial gives up with ctx, but the connection outlives it: go-systemd binds a connection's life to
// the context it is made with.
func dial(ctx context.Context) (*dbus.Conn, error) {
	type answer struct {
		conn *dbus.Conn
		err  error
	}
	answers := make(chan answer, 1)
	go func() { //nolint:gosec // see above
		conn, err := dbus.NewWithContext(context.Background())
		answers <- answer{conn, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, fmt.Errorf("cannot reach systemd over D-Bus: %w", a.err)
		}
		return a.conn, nil
	case <-ctx.Done():
		go func() {
			if a := <-answers; a.err == nil {
				a.conn.Close()
			}
		}()
		return nil, fmt.Errorf("cannot reach systemd over D-Bus: %w", ctx.Err())
	}
}

func (b *bus) resetFailed(ctx context.Context, name string) error {
	conn, err := b.connect(ctx)
	if err != nil {
		return err
	}
	if err := conn.ResetFailedUnitContext(ctx, name); err != nil {
		return wrap("cannot reset", name, err)
	}
	return nil
}

// reloadDaemon makes systemd read all unit files again.
func (b *bus) reloadDaemon(ctx context.Context) error {
	conn, err := b.connect(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := conn.ReloadContext(ctx); err != nil {
		return wrap("cannot make systemd read its unit files", "", err)
	}
	b.log.Debug("systemd read its unit files", "took", time.Since(start))
	return nil
}

// get is Manager.Get.
func (b *bus) get(ctx context.Context, name string) (Unit, error) {
	unit, err := b.look(ctx, name)
	if err != nil {
		return Unit{}, err
	}
	if unit.Load == "not-found" && unit.Stopped() {
		return Unit{}, notFound(name)
	}
	return unit, nil
}

// look is Get for a unit that may be missing: Load is "not-found" then.
func (b *bus) look(ctx context.Context, name string) (Unit, error) {
	if err := CheckName(name); err != nil {
		return Unit{}, err
	}
	conn, err := b.connect(ctx)
	if err != nil {
		return Unit{}, err
	}
	return read(ctx, conn, name)
}

func read(ctx context.Context, conn *dbus.Conn, name string) (Unit, error) {
	// All interfaces at once: a unit's own state and its type's cannot be of two moments then.
	p, err := conn.GetAllPropertiesContext(ctx, name)
	if err != nil {
		return Unit{}, wrap("cannot read the state of", name, err)
	}
	return fromProperties(name, p), nil
}
