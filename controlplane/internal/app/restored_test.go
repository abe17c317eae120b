package app_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/controlplane/internal/backup"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// backUp backs the control plane up once it has the history of db1 on record.
func (p *plane) backUp() (archive string) {
	p.t.Helper()
	p.awaits("the history of db1 is on record", func() bool {
		var docs map[string]string
		p.write(func(ctx context.Context, tx *store.Tx) (err error) {
			docs, err = tx.Histories().All(ctx)
			return err
		})
		return docs["db1"] != ""
	})
	archive = filepath.Join(p.t.TempDir(), "backup.tar")
	if _, err := backup.Create(p.t.Context(), backup.Config{StateDir: p.Dir}, archive); err != nil {
		p.t.Fatal(err)
	}
	return archive
}

// restore starts a control plane of a backup in the same world.
func (p *plane) restore(archive string) *plane {
	p.t.Helper()
	p.Stop()
	dir := filepath.Join(p.t.TempDir(), "state")
	if _, err := backup.Restore(p.t.Context(), backup.RestoreConfig{StateDir: dir,
		Logger: apptest.Quiet()}, archive); err != nil {
		p.t.Fatal(err)
	}
	return planeOf(p.t, p.World, dir)
}

// TestAControlPlaneOfBeforeAChangeOfHistory is restored from a backup: what db2 follows is on
// record as it was then.
func TestAControlPlaneOfBeforeAChangeOfHistory(t *testing.T) {
	t.Parallel()
	degraded := func(p *plane) bool {
		state, text := p.state()
		return state == cpv1.Server_STATE_DEGRADED && strings.Contains(text, "LINEAGE_BROKEN")
	}
	for name, c := range map[string]struct {
		since  func(p *plane)
		broken bool
		wrong  bool // the data of db2 is another
	}{
		"nothing changed": {func(*plane) {}, false, false},
		"it was accepted since": {func(p *plane) {
			p.otherHistory("a purge")
			if j := p.verify("a purge"); j.GetState() != cpv1.Job_STATE_SUCCEEDED {
				p.t.Fatalf("job %v", j)
			}
		}, true, false},
		"a tail is lost": {func(p *plane) {
			p.change(func(db1 *workflowtest.Host) { p.lostTail(db1) })
			p.awaits("db2 is DEGRADED", func() bool { return degraded(p) })
		}, true, true},
		"a tail is lost, and the state of the agent": {func(p *plane) {
			p.Stop()
			p.change(func(db1 *workflowtest.Host) {
				p.lostTail(db1)
				db1.LoseState()
			})
		}, true, true},
		"the state of the agent is lost": {func(p *plane) {
			p.Stop()
			p.change(func(db1 *workflowtest.Host) { db1.LoseState() })
		}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pair(t)
			archive := p.backUp()
			p.change(func(db1 *workflowtest.Host) { p.rows(db1, 10) })
			p.applied()
			c.since(p)
			p = p.restore(archive)
			if !c.broken {
				p.change(func(db1 *workflowtest.Host) { p.rows(db1, 10) })
				p.applied()
				p.awaits("db2 was seen", func() bool {
					state, _ := p.state()
					return state != cpv1.Server_STATE_UNKNOWN
				})
				if state, text := p.state(); state != cpv1.Server_STATE_READY {
					t.Errorf("db2 is %s: %s", state, text)
				}
				return
			}
			p.awaits("db2 is DEGRADED", func() bool { return degraded(p) })
			j := p.verify("it was looked at")
			if c.wrong {
				if j.GetState() != cpv1.Job_STATE_FAILED || !degraded(p) {
					t.Errorf("a wrong copy: job %v", j)
				}
				return
			}
			p.awaits("db2 is READY", func() bool {
				state, _ := p.state()
				return state == cpv1.Server_STATE_READY
			})
		})
	}
}

// lostTail has db1 lose its last transactions and write others of the same numbers, and more.
func (p *plane) lostTail(db1 *workflowtest.Host) {
	data := db1.DatadirDisk().Data
	data.LoseTail(5)
	data.Tables["shop.orders"]++ // which has none of what was lost
	db1.Start()
	p.rows(db1, 7)
}
