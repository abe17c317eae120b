package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func holdings(t *testing.T, st *store.Store) (list []job.Holding) {
	t.Helper()
	read(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = st.Jobs(tx).Holdings(ctx)
		return err
	})
	return list
}

func claim(t *testing.T, st *store.Store, seen job.Holding, owner string) (ok bool) {
	t.Helper()
	write(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
		ok, err = st.Jobs(tx).Claim(ctx, seen, owner)
		return err
	})
	return ok
}

func testClaim(t *testing.T, open Open) {
	st := open(t)
	insert(t, st, sampleJob("j1"))
	ended := sampleJob("j2")
	ended.State = job.Succeeded
	insert(t, st, ended)
	free := holdings(t, st)
	if len(free) != 1 || free[0] != (job.Holding{ID: "j1", Kind: "k"}) {
		t.Fatalf("holdings = %+v, want the active job alone", free)
	}
	if !claim(t, st, free[0], "a") || claim(t, st, free[0], "b") {
		t.Error("want one claim to work, and the second not")
	}
	held := holdings(t, st)[0]
	if held.Owner != "a" || held.Epoch != 1 {
		t.Errorf("held = %+v", held)
	}
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		state, err := st.Jobs(tx).Beat(ctx, "j1", "a", 1)
		if state != job.Queued {
			t.Errorf("state at the beat = %q", state)
		}
		return err
	})
	if claim(t, st, held, "b") {
		t.Error("a job was taken over though its holder lives")
	}
	if !claim(t, st, holdings(t, st)[0], "b") {
		t.Error("a silent holder keeps the job")
	}
	err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := st.Jobs(tx).Beat(ctx, "j1", "a", 1)
		return err
	})
	if !errors.Is(err, job.ErrFenced) {
		t.Errorf("beat of who lost the job: %v, want ErrFenced", err)
	}
}

func testFence(t *testing.T, open Open) {
	st := open(t)
	insert(t, st, sampleJob("j1"))
	claim(t, st, holdings(t, st)[0], "a")
	before := get(t, st, "j1").Rev
	fence := func(owner string, epoch int64) error {
		return st.Write(t.Context(),
			func(ctx context.Context, tx *store.Tx) error {
				return st.Jobs(tx).Fence(ctx, "j1",
					owner, epoch)
			})
	}
	if err := fence("a", 1); err != nil {
		t.Error(err)
	}
	if after := get(t, st, "j1").Rev; after != before+1 || revOf(t, st, "j1") != after {
		t.Errorf("rev went from %d to %d: the fence must write", before, after)
	}
	for _, err := range []error{fence("b", 1), fence("a", 0), fence("a", 2)} {
		if !errors.Is(err, job.ErrFenced) {
			t.Errorf("fence: %v, want ErrFenced", err)
		}
	}
	err := st.Write(t.Context(),
		func(ctx context.Context, tx *store.Tx) error { return st.Jobs(tx).Lock(ctx, "nope") })
	if !errors.Is(err, errs.NotFound) {
		t.Errorf("lock of nothing: %v", err)
	}
}

// testFenceBlocks has two processes that believe they own the job write at the same time, many
// times: what is committed must always be of the higher epoch.
func testFenceBlocks(t *testing.T, open Open) {
	stores := []*store.Store{open(t), open(t)}
	insert(t, stores[0], sampleJob("j1"))
	var wg sync.WaitGroup
	var epoch atomic.Int64
	for i, st := range stores {
		wg.Go(func() {
			owner := string(rune('a' + i))
			for range 25 {
				mine := takeOver(t, st, owner)
				if mine == 0 {
					continue
				}
				err := st.Write(context.Background(),
					func(ctx context.Context, tx *store.Tx) error {
						r := st.Jobs(tx)
						if err := r.Fence(ctx, "j1", owner, mine); err != nil {
							return err
						}
						if _, err := r.Get(ctx, "j1"); err != nil {
							return err
						}
						_, err := tx.Next(ctx, "work", 1)
						return err
					})
				if err == nil {
					epoch.Add(1)
				} else if !errors.Is(err, job.ErrFenced) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	write(t, stores[0], func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Next(ctx, "work", 1)
		if n != epoch.Load()+1 {
			t.Errorf("%d writes were committed, %d reported", n-1, epoch.Load())
		}
		return err
	})
}

func takeOver(t *testing.T, st *store.Store, owner string) (epoch int64) {
	seen := holdings(t, st)[0]
	if claim(t, st, seen, owner) {
		return seen.Epoch + 1
	}
	return 0
}

func lockSubjects(st *store.Store, id string, subjects ...string) error {
	return st.Write(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return st.Jobs(tx).LockSubjects(ctx, id, subjects)
	})
}

func testSubjects(t *testing.T, open Open) {
	st := open(t)
	if err := errors.Join(lockSubjects(st, "j1", "a", "b"),
		lockSubjects(st, "j1", "a", "b")); err != nil {
		t.Errorf("locked by the same job twice: %v", err)
	}
	err := lockSubjects(st, "j2", "0", "b")
	if want := job.Busy("b", "j1"); err == nil || err.Error() != want.Error() {
		t.Errorf("another job: %v, want %v", err, want)
	}
	if err := lockSubjects(st, "j3", "0"); err != nil {
		t.Errorf("a refused lock left something: %v", err)
	}
	write(t, st, func(ctx context.Context,
		tx *store.Tx) error {
		return st.Jobs(tx).UnlockSubjects(ctx, "j1")
	})
	if err := lockSubjects(st, "j2", "b"); err != nil {
		t.Error(err)
	}
}

func testSubjectsAtOnce(t *testing.T, open Open) {
	stores := []*store.Store{open(t), open(t)}
	var got atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			switch err := lockSubjects(stores[i%2], string(rune('a'+i)), "servers/x"); {
			case err == nil:
				got.Add(1)
			case errs.ReasonOf(err) != errorsv1.Reason_REASON_JOB_BUSY:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 {
		t.Errorf("%d jobs have the subject, want one", got.Load())
	}
}
