package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// States of a unit file.
const (
	enabled        = "enabled"
	enabledRuntime = "enabled-runtime"
	disabled       = "disabled"
)

// Files are the units' files: whether they are enabled or masked, and those of the administrator's
// in dir.
type Files struct {
	bus   *bus
	dir   string
	allow *AllowList
	log   *slog.Logger
	// changes serialises what writes below dir.
	changes sync.Mutex
}

// withFileState is the unit with the state of its file read from disk: what systemd remembers is as
// old as its last reload.
func (f *Files) withFileState(ctx context.Context, unit Unit) (Unit, error) {
	conn, err := f.bus.connect(ctx)
	if err != nil {
		return unit, err
	}
	files, err := conn.ListUnitFilesByPatternsContext(ctx, nil, []string{unit.Name})
	if err != nil {
		return unit, wrap("cannot read the unit file of", unit.Name, err)
	}
	for _, file := range files {
		if filepath.Base(file.Path) == unit.Name {
			unit.FileState = file.Type
		}
	}
	return unit, nil
}

func (f *Files) get(ctx context.Context, name string) (Unit, error) {
	unit, err := f.bus.look(ctx, name)
	if err != nil {
		return Unit{}, err
	}
	if unit, err = f.withFileState(ctx, unit); err != nil {
		return Unit{}, err
	}
	if unit.Load == "not-found" && unit.FileState == "" && unit.Stopped() {
		return Unit{}, notFound(name)
	}
	return unit, nil
}

// Enable makes the unit start at boot. It says whether it did not.
func (f *Files) Enable(ctx context.Context, name string) (Unit, bool, error) {
	unit, err := f.get(ctx, name)
	switch {
	case err != nil:
		return Unit{}, false, err
	case unit.Masked():
		return unit, false, maskedError("enable", name)
	case unit.FileState == enabled:
		return unit, false, nil
	case !canEnable(unit):
		return unit, false, wrongState(name,
			fmt.Sprintf("cannot enable %s: its file is %q and names no target to be started with",
				name, unit.FileState),
			errs.WithHint("start it, or enable the unit that requires it"))
	}
	return f.change(ctx, name, func(conn *dbus.Conn) error {
		_, _, err := conn.EnableUnitFilesContext(ctx, []string{name}, false, false)
		return wrapFiles("cannot enable", name, err)
	})
}

// canEnable is true for a file that has a section [Install] of its own.
func canEnable(unit Unit) bool {
	return unit.FileState == disabled || unit.FileState == enabledRuntime ||
		unit.FileState == "linked" || unit.FileState == "indirect"
}

// Disable makes the unit not start at boot. It says whether it did.
func (f *Files) Disable(ctx context.Context, name string) (Unit, bool, error) {
	unit, err := f.get(ctx, name)
	if err != nil {
		return Unit{}, false, err
	}
	if unit.FileState != enabled && unit.FileState != enabledRuntime {
		return unit, false, nil
	}
	return f.change(ctx, name, func(conn *dbus.Conn) error {
		for _, runtime := range []bool{false, true} {
			if _, err := conn.DisableUnitFilesContext(ctx, []string{name}, runtime); err != nil {
				return wrapFiles("cannot disable", name, err)
			}
		}
		return nil
	})
}

// Mask makes the unit unstartable. FailedPrecondition while it is active. It says whether it was
// not masked.
func (f *Files) Mask(ctx context.Context, name string) (Unit, bool, error) {
	unit, err := f.get(ctx, name)
	switch {
	case err != nil:
		return Unit{}, false, err
	case unit.FileState == masked:
		return unit, false, nil
	case !unit.Stopped():
		return unit, false, wrongState(name, fmt.Sprintf("cannot mask %s: it is %s", name,
			unit.Active), errs.WithHint("stop it first", errs.Call("StopUnit", "unit", name)))
	}
	return f.change(ctx, name, func(conn *dbus.Conn) error {
		_, err := conn.MaskUnitFilesContext(ctx, []string{name}, false, false)
		return wrapFiles("cannot mask", name, err)
	})
}

// Unmask takes a mask away, in /etc and in /run. It says whether there was one.
func (f *Files) Unmask(ctx context.Context, name string) (Unit, bool, error) {
	unit, err := f.get(ctx, name)
	if err != nil {
		return Unit{}, false, err
	}
	if !unit.Masked() {
		return unit, false, nil
	}
	unit, changed, err := f.change(ctx, name, func(conn *dbus.Conn) error {
		for _, runtime := range []bool{false, true} {
			if _, err := conn.UnmaskUnitFilesContext(ctx, []string{name}, runtime); err != nil {
				return wrapFiles("cannot unmask", name, err)
			}
		}
		return nil
	})
	if err == nil && unit.Masked() {
		return unit, false, wrongState(name,
			fmt.Sprintf("cannot unmask %s: its package masks it (%s)", name, unit.Fragment),
			errs.WithHint("write a unit file for it below /etc/systemd/system, or install another "+
				"version of the package"))
	}
	return unit, changed, err
}

// change changes unit files, and has systemd read them again. It answers the unit after that.
func (f *Files) change(ctx context.Context, name string,
	how func(*dbus.Conn) error) (Unit, bool, error) {
	f.changes.Lock()
	defer f.changes.Unlock()
	conn, err := f.bus.connect(ctx)
	if err == nil {
		err = how(conn)
	}
	if err == nil {
		err = f.bus.reloadDaemon(ctx)
	}
	if err != nil {
		return Unit{}, false, err
	}
	unit, err := f.bus.look(ctx, name)
	if err == nil {
		unit, err = f.withFileState(ctx, unit)
	}
	return unit, true, err
}

func wrapFiles(what, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case dbusName(err) == "org.freedesktop.DBus.Error.FileExists":
		return errors.Join(wrongState(name,
			fmt.Sprintf("%s %s: a file in /etc/systemd/system stands in its place", what,
				name),
			errs.WithHint("move that file away on the host")), err)
	}
	return wrap(what, name, err)
}
