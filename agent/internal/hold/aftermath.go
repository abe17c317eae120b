package hold

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

const (
	// resumeTime bounds one attempt to start replication again; it is done many times over as the
	// agent lives.
	resumeTime = 2 * time.Second
	// settleInterval is the time between two attempts of the agent.
	settleInterval = time.Second
)

// Appliers starts again what a hold has stopped of a replica; *mariadb.Server is one.
type Appliers interface {
	ResumeAppliers(ctx context.Context, marker string) error
}

// stoppedFile is the file that names the appliers that a hold has stopped, while they may be. A
// reboot takes it away together with what it tells of.
func stoppedFile(dir string) string { return filepath.Join(dir, "hold.stopped") }

// stopAppliers stops replication that runs here between two event groups.
func (b *base) stopAppliers(ctx context.Context) error {
	if b.point.Before().Role != mariadb.RoleReplica {
		return nil
	}
	b.say("stopping replication between two transactions")
	return b.point.StopAppliers(ctx, b.stoppedFile())
}

// resumeAppliers is for the time after the locks and the freeze. What it does not get done,
// systemd's ExecStopPost and the agent do.
func (b *base) resumeAppliers() {
	ctx, cancel := context.WithTimeout(context.Background(), resumeTime)
	defer cancel()
	if err := b.config.MariaDB.ResumeAppliers(ctx, b.stoppedFile()); err != nil {
		b.config.Log.Warn("replication does not run again yet; the agent tries on", "error", err)
	}
}

func (b *base) stoppedFile() string { return stoppedFile(filepath.Dir(b.config.Socket)) }

// left is true when a hold may have left replication stopped.
func (m *Manager) left() bool {
	_, err := os.Lstat(stoppedFile(m.config.Dir))
	return err == nil
}

// settle starts replication again that a hold left stopped, and lets the next hold come after that.
// It tries for as long as it takes: a STOP SLAVE that the hold gave up may come into force much
// later, at the end of a long statement.
func (m *Manager) settle() {
	defer m.held.Store(false)
	for m.left() {
		err := m.resume()
		if err == nil {
			m.config.Log.Info("replication that a hold has stopped runs again")
			return
		}
		m.config.Log.Warn("replication that a hold has stopped does not run again yet", "error",
			err)
		<-time.After(settleInterval)
	}
}

func (m *Manager) resume() error {
	ctx, cancel := context.WithTimeout(context.Background(), resumeTime)
	defer cancel()
	return m.config.Appliers.ResumeAppliers(ctx, stoppedFile(m.config.Dir))
}
