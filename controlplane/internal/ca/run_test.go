package ca_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// Two control planes share a store: what one revokes, the other denies soon.
func TestRunHearsOfRevocationsByOthers(t *testing.T) {
	t.Parallel()
	h := build(t)
	other := h.open()
	bundle, err := h.enroll(h.joinFile("db-1").Token, "db-1", keys(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ran := make(chan error, 1)
	go func() {
		ran <- other.Run(ctx, ca.Kept{Dir: filepath.Join(h.dir, "operator"),
			Identity: identity.Operator("ann")})
	}()
	if _, err := h.registry.Revoke(ctx, ca.RevokeRequest{Who: identity.Agent("db-1"),
		Reason: "gone", Caller: byRoot()}); err != nil {
		t.Fatal(err)
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !other.Denied(peer(t, bundle).Serial()) && ctx.Err() == nil {
		<-look.C
	}
	if ctx.Err() != nil {
		t.Error("never heard of it")
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

func TestConfigMistakesShowAtTheStart(t *testing.T) {
	t.Parallel()
	h := build(t)
	authority, err := ca.OpenAuthority(t.Context(), h.authority())
	if err != nil {
		t.Fatal(err)
	}
	good := ca.Config{Authority: authority, Store: ca.StoreOf(h.store, records)}
	tests := map[string]func(*ca.Config){
		"no authority":  func(c *ca.Config) { c.Authority = nil },
		"no store":      func(c *ca.Config) { c.Store = nil },
		"no port":       func(c *ca.Config) { c.ControlPlane = []string{"10.0.0.1"} },
		"no host":       func(c *ca.Config) { c.ControlPlane = []string{":7440"} },
		"too short":     func(c *ca.Config) { c.AgentLife = time.Second },
		"negative life": func(c *ca.Config) { c.OperatorLife = -time.Hour },
	}
	for name, spoil := range tests {
		config := good
		spoil(&config)
		if _, err := ca.New(t.Context(), config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	registry, err := ca.New(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.JoinFile(t.Context(), "db-1"); err == nil {
		t.Error("a join file without an address")
	}
}
