package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

func testServerIDs(t *testing.T, open Open) {
	st := open(t)
	allocate := func(server string) (id uint32) {
		write(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
			id, err = tx.ServerIDs().Allocate(ctx, server)
			return err
		})
		return id
	}
	claim := func(server string, id uint32) error {
		return st.Write(t.Context(),
			func(ctx context.Context, tx *store.Tx) error {
				return tx.ServerIDs().Claim(ctx, server,
					id)
			})
	}
	if err := claim("found", inventory.FirstServerID+1); err != nil {
		t.Error(err)
	}
	if err := claim("huge", 4294967295); err != nil {
		t.Error(err)
	}
	a, b := allocate("a"), allocate("b")
	if a != inventory.FirstServerID || b != inventory.FirstServerID+2 || allocate("a") != a {
		t.Errorf("a = %d, b = %d: want the first, the one behind the claimed, and the same again",
			a, b)
	}
	if err := claim("c", a); !errors.Is(err, errs.FailedPrecondition) {
		t.Errorf("claim of a's id: %v", err)
	}
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return tx.ServerIDs().Release(ctx,
			"a")
	})
	if again := allocate("a"); again == a {
		t.Errorf("%d was used again", a)
	}
	if err := claim("c", a); !errors.Is(err, errs.FailedPrecondition) {
		t.Errorf("claim of an id that was used: %v", err)
	}
}

func testServerIDsAtOnce(t *testing.T, open Open) {
	stores := []*store.Store{open(t), open(t)}
	const n = 8
	ids := make([]uint32, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := stores[i%2].Write(context.Background(),
				func(ctx context.Context, tx *store.Tx) (err error) {
					ids[i], err = tx.ServerIDs().Allocate(ctx, string(rune('a'+i)))
					return err
				})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if slices.Sort(ids); len(slices.Compact(ids)) != n || ids[0] == 0 {
		t.Errorf("ids = %v, want %d different ones", ids, n)
	}
}

func testTransactions(t *testing.T, open Open) {
	st := open(t)
	boom := errors.New("boom")
	err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		if err := tx.Servers().Insert(ctx, &inventory.Server{Name: "db1"}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("error = %v", err)
	}
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Servers().Get(ctx, "db1"); !errors.Is(err, inventory.ErrNotFound) {
			t.Errorf("a transaction that failed left something: %v", err)
		}
		return nil
	})
	err = st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx, &inventory.Server{Name: "db1"})
	})
	if err == nil {
		t.Error("a reading transaction could write")
	}
}

// testQuiet asks for quiet while another goroutine writes all the time; another process can write
// in it.
func testQuiet(t *testing.T, open Open) {
	st, other := open(t), open(t)
	var writing atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	wrote := make(chan struct{})
	busy.Go(func() {
		for ctx.Err() == nil {
			_ = st.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
				writing.Store(true)
				defer writing.Store(false)
				_, err := tx.ServerIDs().Allocate(ctx, "a")
				select {
				case wrote <- struct{}{}:
				default:
				}
				return err
			})
		}
	})
	for range 10 {
		<-wrote
		err := st.Quietly(t.Context(), func() {
			if writing.Load() {
				t.Error("quiet in the middle of a write")
			}
			write(t, other, func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.ServerIDs().Allocate(ctx, "b")
				return err
			})
		})
		if err != nil {
			t.Error(err)
		}
	}
	cancel()
	busy.Wait()
}

func testReadIsASnapshot(t *testing.T, open Open) {
	st := open(t)
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		before, _, err := tx.Servers().List(ctx, store.ServerFilter{}, store.Page{})
		if err != nil {
			return err
		}
		write(t, st, func(ctx context.Context, tx *store.Tx) error {
			return tx.Servers().Insert(ctx, &inventory.Server{Name: "db1"})
		})
		after, _, err := tx.Servers().List(ctx, store.ServerFilter{}, store.Page{})
		if len(before) != len(after) {
			t.Errorf("saw %d servers, then %d", len(before), len(after))
		}
		return err
	})
}

func testOpenAtOnce(t *testing.T, open Open) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { open(t) })
	}
	wg.Wait()
	write(t, open(t), func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx, &inventory.Server{Name: "db1"})
	})
}
