package app_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestFirstStartsAtOnceEndUpWithTheSame(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	planes, w := make([]*app.App, 4), stillWorld(t)
	var group sync.WaitGroup
	for i := range planes {
		group.Go(func() {
			var err error
			dev := app.Dev{Provider: w.Process().Provider()} // the agents are those of the servers
			if planes[i], err = app.New(t.Context(), apptest.Settings(t, dir, nil),
				apptest.Quiet(), dev); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i, one := range planes {
		if one == nil {
			continue
		}
		p := &plane{t: t, Plane: apptest.Run(t, one, w, dir)}
		p.conn = p.Dial(apptest.Operator(t, dir))
		if _, err := p.servers().ListServers(t.Context(), &cpv1.ListServersRequest{}); err != nil {
			t.Errorf("control plane %d: %v", i, err)
		}
		p.Stop()
		if err := one.Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
	}
}

// TestStartOnALockedStoreSaysSo is a control plane that hung in a write, and a second one that is
// to take over.
func TestStartOnALockedStoreSaysSo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func() error {
		cfg := apptest.Settings(t, dir, nil)
		one, err := app.New(t.Context(), cfg, apptest.Quiet(),
			apptest.Dev(stillWorld(t).Process(), cfg))
		if err == nil {
			err = one.Close()
		}
		return err
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	hung, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "understudy.db")+
		"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	tx, err := hung.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := start(); errs.ReasonOf(err) != errorsv1.Reason_REASON_STORE_UNAVAILABLE ||
		!strings.Contains(errs.HintOf(err).String(), "hangs") {
		t.Errorf("a start on a locked store: %v; hint: %s", err, errs.HintOf(err).String())
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := start(); err != nil {
		t.Errorf("a start once the lock is gone: %v", err)
	}
}

func TestSecretsAreTheOwnersAlone(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	for _, path := range []string{"ca/key.pem", "controlplane/key.pem", "operator/key.pem",
		"understudy.db"} {
		info, err := os.Stat(filepath.Join(p.Dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

// TestJobsGoOnAfterARestart takes the control plane away in the middle of a job and starts another
// one on the same state.
func TestJobsGoOnAfterARestart(t *testing.T) {
	t.Parallel()
	dir, w := t.TempDir(), stillWorld(t)
	p := startPlane(t, dir, w)
	answer, err := p.servers().CreateServer(t.Context(),
		&cpv1.CreateServerRequest{Name: "servers/db1"})
	if err != nil {
		t.Fatal(err)
	}
	name := answer.GetJob().GetName()
	made := func(j *cpv1.Job) bool {
		return j.GetState() == cpv1.Job_STATE_WAITING && p.changes() > 0
	}
	before := p.until(name, made)
	p.Stop()
	next := startPlane(t, dir, w)
	after := next.until(name,
		func(j *cpv1.Job) bool { return made(j) && j.GetEpoch() > before.GetEpoch() })
	if after.GetSteps()[1].GetGeneration() != 1 || p.changes() != 1 {
		t.Errorf("the machine was made %d times, step %v", p.changes(), after.GetSteps()[1])
	}
}

func TestRunIsFailedByAnAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	cfg := apptest.Settings(t, t.TempDir(), map[string]any{"listen": []string{p.Address()}})
	if _, err := app.New(t.Context(), cfg, apptest.Quiet(),
		apptest.Dev(stillWorld(t).Process(), cfg)); err == nil {
		t.Error("two control planes serve on one address")
	}
}
