package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Read is the content of the unit's file of the administrator's (below /etc/systemd/system);
// fs.ErrNotExist when there is none.
func (f *Files) Read(name string) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(f.dir, name))
}

// Install makes sure that the unit's file has this content, that it is enabled (the content
// has a section [Install]), and that systemd has read it. A mask, which is a link in the same
// place, is replaced. It says what was done.
func (f *Files) Install(ctx context.Context, name string,
	content []byte) ([]string, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	f.changes.Lock()
	defer f.changes.Unlock()
	path := filepath.Join(f.dir, name)
	var changes []string
	written, err := writeUnitFile(path, content)
	if err != nil {
		return nil, err
	}
	if written {
		changes = append(changes, "wrote "+name)
	}
	enabled, err := f.enableOnDisk(ctx, name)
	if err != nil {
		return changes, err
	}
	if enabled {
		changes = append(changes, "enabled "+name)
	}
	// One reload for both: it is what takes long.
	return changes, f.reloadIfNeeded(ctx, name, written || enabled)
}

// enableOnDisk makes the links that [Install] asks for; it says whether some were missing.
func (f *Files) enableOnDisk(ctx context.Context, name string) (bool, error) {
	conn, err := f.bus.connect(ctx)
	if err != nil {
		return false, err
	}
	_, made, err := conn.EnableUnitFilesContext(ctx, []string{name}, false, false)
	return len(made) > 0, wrapFiles("cannot enable", name, err)
}

// Delete removes the unit's file of the administrator's, a mask included, and has systemd
// forget it. It says whether there was one.
func (f *Files) Delete(ctx context.Context, name string) (bool, error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	return f.removeAndReload(ctx, filepath.Join(f.dir, name))
}

// Reload makes systemd read all unit files again.
func (f *Files) Reload(ctx context.Context) error { return f.bus.reloadDaemon(ctx) }

func (f *Files) writeAndReload(ctx context.Context, unit, path string,
	content []byte) (bool, error) {
	f.changes.Lock()
	defer f.changes.Unlock()
	changed, err := writeUnitFile(path, content)
	if err != nil {
		return false, err
	}
	if changed {
		f.log.Info("wrote a unit file", "unit", unit, "path", path)
	}
	return changed, f.reloadIfNeeded(ctx, unit, changed)
}

// reloadIfNeeded reloads after a change, and when a crash came between a change and its reload.
func (f *Files) reloadIfNeeded(ctx context.Context, unit string, changed bool) error {
	if changed {
		return f.bus.reloadDaemon(ctx)
	}
	u, err := f.bus.look(ctx, unit)
	if err != nil || !u.NeedsReload && u.Load != "not-found" {
		return err
	}
	return f.bus.reloadDaemon(ctx)
}

func (f *Files) removeAndReload(ctx context.Context, path string) (bool, error) {
	f.changes.Lock()
	defer f.changes.Unlock()
	switch err := os.Remove(path); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, writeError(path, err)
	}
	// An empty directory of drop-ins is litter; one that is not empty stays.
	if filepath.Ext(filepath.Dir(path)) == ".d" {
		_ = os.Remove(filepath.Dir(path))
	}
	f.log.Info("removed a unit file", "path", path)
	return true, f.bus.reloadDaemon(ctx)
}

// writeUnitFile writes the file, with its directory, and says whether the content changed. systemd
// ignores the temporary file, whose name begins with a dot.
func writeUnitFile(path string, content []byte) (bool, error) {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	changed := false
	if err == nil {
		changed, err = atomicfile.Ensure(path, content, 0o644, nil)
	}
	if err != nil {
		return false, writeError(path, err)
	}
	return changed, nil
}

const makeRoom = "free space on the host's root filesystem, then call again"

func writeError(path string, err error) error {
	if errs.NoRoom(err) {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_DISK_FULL,
			fmt.Sprintf("cannot write %s", path), errs.Wrap(err), errs.WithHint(makeRoom))
	}
	return errs.New(errs.Internal, errorsv1.Reason_REASON_INTERNAL,
		fmt.Sprintf("cannot write %s", path), errs.Wrap(err),
		errs.WithHint("make sure that the host's root filesystem has free space and is writable"))
}
