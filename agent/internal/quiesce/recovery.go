package quiesce

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// resumeTime bounds one attempt to start replication again; the agent repeats it.
	resumeTime = 2 * time.Second
	// settleInterval is the time between two attempts of the agent.
	settleInterval = time.Second
)

// Appliers starts the appliers of a replica that a session has stopped; *mariadb.Server is one.
type Appliers interface {
	ResumeAppliers(ctx context.Context, marker string) error
}

// stoppedFile names the appliers that a session has stopped and not started again. A reboot removes
// it, and starts them.
func stoppedFile(dir string) string { return filepath.Join(dir, "quiesce.stopped") }

// frozenFile exists while a process may have frozen the filesystem, and nothing has thawed it since
// for good: what runs after the process thaws nothing without it. A reboot removes it.
func frozenFile(dir string) string { return filepath.Join(dir, "quiesce.frozen") }

func mark(file string) error {
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return fmt.Errorf("cannot note that the filesystem is frozen: %w", err)
	}
	return nil
}

func unmark(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot note that the filesystem is thawed: %w", err)
	}
	return nil
}

func isMarked(file string) bool {
	_, err := os.Lstat(file)
	return !errors.Is(err, os.ErrNotExist)
}

// stopAppliers stops the appliers that run on a replica between two event groups.
func (b *base) stopAppliers(ctx context.Context) error {
	if !b.session.Before().Replica {
		return nil
	}
	b.say("stopping replication between two transactions")
	return b.session.StopAppliers(ctx, b.stoppedFile())
}

// resumeAppliers comes after the locks and the freeze. What it does not get done is left to
// systemd's ExecStopPost and the agent.
func (b *base) resumeAppliers() {
	ctx, cancel := context.WithTimeout(context.Background(), resumeTime)
	defer cancel()
	if err := b.config.MariaDB.ResumeAppliers(ctx, b.stoppedFile()); err != nil {
		b.config.Log.Warn("cannot start replication again yet; the agent will", "error", err)
	}
}

func (b *base) stoppedFile() string { return stoppedFile(filepath.Dir(b.config.Socket)) }

// left is true when a session may have left replication stopped.
func (m *Manager) left() bool {
	_, err := os.Lstat(stoppedFile(m.config.Dir))
	return err == nil
}

// settle resumes MariaDB, starts replication that a session left stopped, and allows the next
// session after that. It has no time limit: a STOP SLAVE that the session gave up may take effect
// much later, at the end of a long statement.
func (m *Manager) settle() {
	defer m.active.Store(false)
	m.undo()
	for m.left() {
		err := m.resume()
		if err == nil {
			m.config.Log.Info("replication runs again after a snapshot")
			return
		}
		m.config.Log.Warn("cannot start replication again after a snapshot yet", "error", err)
		<-time.After(settleInterval)
	}
}

func (m *Manager) resume() error {
	ctx, cancel := context.WithTimeout(context.Background(), resumeTime)
	defer cancel()
	return m.config.Appliers.ResumeAppliers(ctx, stoppedFile(m.config.Dir))
}
