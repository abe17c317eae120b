// Package apptest runs whole control planes over simulated worlds, in the process of a test.
package apptest

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// Quiet is a log that keeps nothing.
func Quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Plane is a control plane that runs, and the world that it works in.
type Plane struct {
	*app.App
	World *workflowtest.World
	Dir   string // state directory
	t     testing.TB
	stop  context.CancelFunc
	ended chan error
}

// Settings are those of a control plane of a test on the state directory, and more.
func Settings(t testing.TB, dir string, more map[string]any) app.Config {
	t.Helper()
	flags := map[string]any{
		"state_dir": dir, "listen": []string{"127.0.0.1:0"},
		"advertise": []string{"192.0.2.1:7440"}, "metrics": "off", "dev": true,
	}
	maps.Copy(flags, more)
	cfg, err := app.Load(app.Sources{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Dev has the control plane work in the world.
func Dev(w *workflowtest.World) app.Dev {
	p := w.Process()
	return app.Dev{Provider: p.Provider(), Agents: p.Agents()}
}

// Start starts a control plane in a world, which ends with the test.
func Start(t testing.TB, w *workflowtest.World, cfg app.Config, dev app.Dev) *Plane {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	made, err := app.New(ctx, cfg, Quiet(), dev)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	p := &Plane{App: made, World: w, Dir: cfg.StateDir, t: t, stop: cancel,
		ended: make(chan error, 1)}
	go func() { p.ended <- made.Run(ctx) }()
	t.Cleanup(p.Stop)
	return p
}

// Stop stops it in good order. Stopping twice is fine.
func (p *Plane) Stop() {
	p.stop()
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Errorf("the control plane ended with %v", err)
		}
		p.ended <- nil
	case <-time.After(2 * time.Minute):
		p.t.Error("the control plane did not stop")
	}
}

// Operator are the credentials of the operator in a state directory.
func Operator(t testing.TB, dir string) identity.Source {
	t.Helper()
	in := func(name string) string { return filepath.Join(dir, "operator", name) }
	source, err := identity.NewFiles(identity.FilesConfig{CA: in("ca.pem"), Cert: in("cert.pem"),
		Key: in("key.pem"), Logger: Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return source
}
