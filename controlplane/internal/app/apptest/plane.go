// Package apptest runs whole control planes over simulated worlds, in the process of a test.
package apptest

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
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

// Dev has a control plane work in the world: with another provider than its own, with the agents of
// it alone.
func Dev(in *workflowtest.Process, cfg app.Config) app.Dev {
	dev := app.Dev{Agents: in.Agents(), Poll: 10 * time.Millisecond, Confirm: time.Second}
	if cfg.Provider == app.LabProvider {
		dev.Provider = in.Provider()
	}
	return dev
}

// Start starts a control plane, which ends with the test.
func Start(t testing.TB, in *workflowtest.Process, cfg app.Config) *Plane {
	t.Helper()
	made, err := app.New(t.Context(), cfg, Quiet(), Dev(in, cfg))
	if err != nil {
		t.Fatal(err)
	}
	return Run(t, made, in.W, cfg.StateDir)
}

// Run runs a control plane that was made, until the test ends.
func Run(t testing.TB, made *app.App, w *workflowtest.World, dir string) *Plane {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &Plane{App: made, World: w, Dir: dir, t: t, stop: cancel, ended: make(chan error, 1)}
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

// Dial connects to it as somebody.
func (p *Plane) Dial(who identity.Source) *grpc.ClientConn {
	p.t.Helper()
	conn, err := chassis.Dial(chassis.DialConfig{Address: p.Address(),
		TLS: identity.ClientConfig{Source: who, Expect: identity.ControlPlane()}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	return conn
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
