package systemd

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// hub hands D-Bus's signals of changed units to those who watch them.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

// watcher receives, through a channel of one, that one of its units may have changed.
type watcher struct {
	hub    *hub
	units  map[string]struct{}
	signal chan struct{}
}

// feedFrom takes the signals of a new connection. They are a hint: what reads after one, reads now
// and then without one as well.
func (h *hub) feedFrom(conn *dbus.Conn) {
	updates := make(chan *dbus.PropertiesUpdate, 256)
	dropped := make(chan error, 1)
	conn.SetPropertiesSubscriber(updates, dropped)
	// On systemd's private socket there is no subscribing; signals come anyway.
	_ = conn.Subscribe()
	go func() {
		alive := time.NewTicker(10 * time.Second)
		defer alive.Stop()
		for conn.Connected() {
			select {
			case update := <-updates:
				h.notify(update.UnitName)
			case err := <-dropped: // everybody looks again
				if err != nil {
					h.notify("")
				}
			case <-alive.C:
			}
		}
		h.notify("")
	}()
}

// notify wakes the watchers of the unit; all of them for "".
func (h *hub) notify(unit string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if _, watched := w.units[unit]; !watched && unit != "" {
			continue
		}
		select {
		case w.signal <- struct{}{}:
		default:
		}
	}
}

func (b *bus) watch(units ...string) *watcher {
	w := &watcher{hub: &b.hub, units: map[string]struct{}{}, signal: make(chan struct{}, 1)}
	for _, unit := range units {
		w.units[unit] = struct{}{}
	}
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	b.hub.watchers[w] = struct{}{}
	return w
}

func (w *watcher) stop() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.watchers, w)
}

// Watch hands over each unit at once, and again whenever its state changed, until ctx is done or
// each returns an error. A unit that systemd does not know yet is handed over as one whose Load is
// "not-found".
func (m *Manager) Watch(ctx context.Context, units []string, each func(Unit) error) error {
	changes := m.bus.watch(units...)
	defer changes.stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	known := map[string]Unit{}
	for {
		for _, name := range units {
			unit, err := m.bus.look(ctx, name)
			if err != nil {
				return err
			}
			if before, seen := known[name]; seen && !differs(before, unit) {
				continue
			}
			known[name] = unit
			if err := each(unit); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changes.signal:
		case <-poll.C:
		}
	}
}

// differs leaves out what changes all the time.
func differs(a, b Unit) bool {
	a.MemoryBytes, b.MemoryBytes = 0, 0
	a.job, b.job = 0, 0
	return !reflect.DeepEqual(a, b)
}
