package ca_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/loop"
)

// listed is a store that knows a list of revoked serials alone.
type listed struct {
	ca.Certificates
	serials atomic.Pointer[[]string]
	// after runs when a read has its answer and has not returned it.
	after func(ctx context.Context) error
}

func (l *listed) Revoked(ctx context.Context) (int64, []inventory.Certificate, error) {
	var all []inventory.Certificate
	for _, serial := range *l.serials.Load() {
		all = append(all, inventory.Certificate{Serial: serial})
	}
	return 0, all, l.after(ctx)
}

func (l *listed) Read(ctx context.Context,
	fn func(context.Context, ca.Records) error) error {
	return fn(ctx, ca.Records{Certificates: l})
}

func (l *listed) Write(context.Context, func(context.Context, ca.Records) error) error {
	return errors.New("read only")
}

func (l *listed) revoke(serials ...string) { l.serials.Store(&serials) }

func listing(t *testing.T, loops *loop.Set) (*listed, *ca.Registry) {
	t.Helper()
	l := &listed{after: func(context.Context) error { return nil }}
	l.revoke()
	authority, err := ca.OpenAuthority(t.Context(), ca.AuthorityConfig{
		Dir:    filepath.Join(t.TempDir(), "ca"),
		Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	registry, err := ca.New(t.Context(), ca.Config{Authority: authority, Store: l, Loops: loops,
		Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return l, registry
}

// A read that began before a revocation and ends after the one that follows it changes nothing.
func TestAnOlderDenyListReplacesNoNewerOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, registry := listing(t, nil)
		first, slow := make(chan struct{}), atomic.Bool{}
		slow.Store(true)
		l.after = func(context.Context) error {
			if slow.Swap(false) {
				<-first
			}
			return nil
		}
		go func() { _ = registry.Refresh(t.Context()) }()
		synctest.Wait()
		l.revoke("1")
		done := make(chan error, 1)
		go func() { done <- registry.Refresh(t.Context()) }()
		synctest.Wait()
		close(first)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !registry.Denied("1") {
			t.Error("an older list has replaced the one with the revocation")
		}
	})
}

// A store that hangs is noticed, and read again as soon as it answers.
func TestADenyListThatGrowsOldIsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		loops := loop.NewSet(slog.New(slog.NewTextHandler(&out, nil)))
		l, registry := listing(t, loops)
		hangs := atomic.Bool{}
		hangs.Store(true)
		l.after = func(ctx context.Context) error {
			if hangs.Load() {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- registry.Run(ctx) }()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if late := loops.Late(); len(late) != 1 || !strings.Contains(out.String(),
			"read the deny list") {
			t.Errorf("late: %v, log:\n%s", late, &out)
		}
		l.revoke("1")
		hangs.Store(false)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if !registry.Denied("1") || len(loops.Late()) != 0 {
			t.Errorf("denied: %v, late: %v", registry.Denied("1"), loops.Late())
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}
