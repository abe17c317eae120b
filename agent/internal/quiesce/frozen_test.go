package quiesce

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/agent/internal/freeze"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// kernel is a filesystem that may keep whoever freezes it.
type kernel struct {
	frozen atomic.Bool
	thaws  atomic.Int32 // that found it frozen
	keep   atomic.Pointer[chan struct{}]
}

func (k *kernel) Freeze() error {
	if keep := k.keep.Load(); keep != nil {
		<-*keep
	}
	if !k.frozen.CompareAndSwap(false, true) {
		return freeze.ErrFrozen
	}
	return nil
}

func (k *kernel) Thaw() (bool, error) {
	was := k.frozen.Swap(false)
	if was {
		k.thaws.Add(1)
	}
	return was, nil
}

func (k *kernel) Close() error { return nil }

// hangs has the next freeze wait until goOn is called.
func (k *kernel) hangs() (goOn func()) {
	keep := make(chan struct{})
	k.keep.Store(&keep)
	return func() { k.keep.Store(nil); close(keep) }
}

func freezable(t *testing.T) (*kernel, *frozenFilesystem) {
	t.Helper()
	k := &kernel{}
	return k, &frozenFilesystem{fs: k, marker: frozenFile(t.TempDir())}
}

func marked(f *frozenFilesystem) bool {
	_, err := os.Stat(f.marker)
	return err == nil
}

func TestWhatIsFrozenIsThawedOnce(t *testing.T) {
	t.Parallel()
	k, f := freezable(t)
	if err := f.freeze(t.Context()); err != nil || !marked(f) {
		t.Fatalf("marked: %t; %v", marked(f), err)
	}
	if err := f.stillFrozen(t.Context()); err != nil || !marked(f) || !k.frozen.Load() {
		t.Fatalf("marked: %t, frozen: %t; %v", marked(f), k.frozen.Load(), err)
	}
	f.thaw()
	if k.frozen.Load() || marked(f) {
		t.Errorf("frozen: %t, marked: %t", k.frozen.Load(), marked(f))
	}
	k.frozen.Store(true) // by another program
	f.close()
	if !k.frozen.Load() || f.took() <= 0 {
		t.Errorf("the freeze of another program is thawed; took %s", f.took())
	}
}

func TestTheFreezeOfAnotherProgramStays(t *testing.T) {
	t.Parallel()
	k, f := freezable(t)
	k.frozen.Store(true)
	if err := f.freeze(t.Context()); !errors.Is(err, freeze.ErrFrozen) || marked(f) {
		t.Errorf("marked: %t; %v", marked(f), err)
	}
	f.close()
	if k.thaws.Load() > 0 {
		t.Error("it is thawed")
	}
}

// Another program thaws, which the proof sees, and freezes for itself.
func TestWhatAnotherProgramThawedIsNotThawedAgain(t *testing.T) {
	t.Parallel()
	k, f := freezable(t)
	if err := f.freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.frozen.Store(false)
	if err := f.stillFrozen(t.Context()); err == nil || k.frozen.Load() || marked(f) {
		t.Errorf("frozen: %t, marked: %t; %v", k.frozen.Load(), marked(f), err)
	}
	k.frozen.Store(true)
	f.close()
	if !k.frozen.Load() {
		t.Error("the freeze of another program is thawed")
	}
}

// A freeze, or the proof of one, hangs in the kernel for an hour. Nobody waits for it, what it
// freezes is thawed, and the marker is there until it can freeze nothing more.
func TestACallThatHangsIsThawedAfter(t *testing.T) {
	t.Parallel()
	for name, hang := range map[string]func(context.Context, *kernel, *frozenFilesystem) error{
		"freeze": func(ctx context.Context, _ *kernel, f *frozenFilesystem) error {
			return f.freeze(ctx)
		},
		"proof": func(ctx context.Context, k *kernel, f *frozenFilesystem) error {
			k.frozen.Store(false)
			f.mu.Lock()
			f.frozen = true
			f.mu.Unlock()
			return f.stillFrozen(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k, f := freezable(t)
				goOn := k.hangs()
				ctx, cancel := context.WithTimeout(t.Context(), proofTime)
				defer cancel()
				began := time.Now()
				if err := hang(ctx, k, f); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				f.thaw()
				if time.Since(began) > proofTime || !marked(f) {
					t.Errorf("after %s, marked: %t", time.Since(began), marked(f))
				}
				time.AfterFunc(time.Hour, goOn)
				f.close()
				if k.frozen.Load() || k.thaws.Load() != 1 || marked(f) {
					t.Errorf("frozen: %t, thawed %d times, marked: %t", k.frozen.Load(),
						k.thaws.Load(), marked(f))
				}
			})
		})
	}
}

// hangingProof is a mode whose proof hangs in the kernel.
type hangingProof struct {
	stopped
	goOn chan struct{}
}

func (h *hangingProof) prove(context.Context) (mariadb.Positions, error) {
	<-h.goOn
	return mariadb.Positions{}, nil
}

func TestAProofThatComesLateIsNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &process{spec: Spec{Mode: Online, Freeze: true}, released: make(chan struct{})}
		close(p.released)
		h := &hangingProof{goOn: make(chan struct{})}
		defer close(h.goOn)
		began := time.Now()
		result := p.awaitResume(t.Context(), h)
		if result.Unbroken || !strings.Contains(result.BrokenReason, "in time") ||
			time.Since(began) > proofTime {
			t.Errorf("after %s: %+v", time.Since(began), result)
		}
	})
}

func TestAFilesystemThatTakesNoWriteIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		thawed := make(chan struct{})
		defer close(thawed)
		err := takesWrite(func() error { <-thawed; return nil })
		refused(t, err, errorsv1.Reason_REASON_FILESYSTEM_FROZEN, "took no write")
		if errs.HintOf(err).String() == "" {
			t.Error("no hint")
		}
		if err := takesWrite(func() error { return nil }); err != nil {
			t.Error(err)
		}
	})
}
