package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// UnitFile is the content of the unit's file of the administrator's (below /etc/systemd/system); fs.ErrNotExist when there is none.
func (m *Manager) UnitFile(name string) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(m.unitDir, name))
}

// WriteUnitFile makes sure that the unit's file has this content, and that systemd has read it. A mask, which is a link in the same
// place, is replaced. It says whether the file had another content.
func (m *Manager) WriteUnitFile(ctx context.Context, name string, content []byte) (bool, error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	return m.writeAndReload(ctx, name, filepath.Join(m.unitDir, name), content)
}

// DeleteUnitFile removes the unit's file of the administrator's, a mask included, and has systemd forget it. It says whether there was one.
func (m *Manager) DeleteUnitFile(ctx context.Context, name string) (bool, error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	return m.removeAndReload(ctx, filepath.Join(m.unitDir, name))
}

func (m *Manager) writeAndReload(ctx context.Context, unit, path string, content []byte) (bool, error) {
	m.files.Lock()
	defer m.files.Unlock()
	changed, err := replaceFile(path, content, 0o644)
	if err != nil {
		return false, writeError(path, err)
	}
	if !changed {
		// A crash may have come between the write and the reload.
		if u, err := m.look(ctx, unit); err != nil || !u.NeedsReload && u.Load != "not-found" {
			return false, err
		}
	}
	m.log.Info("wrote a unit file", "unit", unit, "path", path, "changed", changed)
	return changed, m.ReloadDaemon(ctx)
}

func (m *Manager) removeAndReload(ctx context.Context, path string) (bool, error) {
	m.files.Lock()
	defer m.files.Unlock()
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
	m.log.Info("removed a unit file", "path", path)
	return true, m.ReloadDaemon(ctx)
}

// replaceFile gives the file this content in one step, on disk before it returns; it says whether the content was another one.
func replaceFile(path string, content []byte, mode fs.FileMode) (bool, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
			return false, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	// systemd reads no file that begins with a dot.
	tmp, err := os.CreateTemp(filepath.Dir(path), ".understudy-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return err == nil, err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func writeError(path string, err error) error {
	return errs.New(errs.Internal, errorsv1.Reason_REASON_INTERNAL, fmt.Sprintf("cannot write %s", path), errs.Wrap(err),
		errs.WayOut("see that the host's root filesystem has room and is writable"))
}
