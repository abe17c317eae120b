package job_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// mortal is a process's way to the store. Once the process is dead nothing of it gets there any
// more.
type mortal struct {
	*store.Store
	dead atomic.Bool
	gone func() // when set, is called at the death
	fate func() fate

	away    *atomic.Bool // when set and true, the store is out of reach
	refused atomic.Int32
}

// fate is what befalls a write.
type fate int

const (
	goesWell fate = iota
	diesBefore
	diesAfter
	losesAnswer // it is committed, but the caller gets the error that the store is out of reach
)

func (m *mortal) die() {
	m.dead.Store(true)
	if m.gone != nil {
		m.gone()
	}
}

var errDead = errors.New("this process is dead")

func (m *mortal) Write(ctx context.Context,
	fn func(ctx context.Context, tx *store.Tx) error) error {
	if m.dead.Load() {
		return errDead
	}
	if m.away != nil && m.away.Load() {
		m.refused.Add(1)
		return fmt.Errorf("disk full: %w", job.ErrUnavailable)
	}
	befalls := m.fate()
	err := m.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		if befalls == diesBefore {
			m.die()
		}
		if m.dead.Load() {
			return errDead
		}
		return nil
	})
	if err == nil && befalls == diesAfter {
		m.die()
		return errDead
	}
	if err == nil && befalls == losesAnswer {
		return fmt.Errorf("connection lost: %w", job.ErrUnavailable)
	}
	return err
}

func (m *mortal) Read(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Store.Read(ctx, fn)
}

// world is what handlers change outside of the store: each effect is made once for its key, and
// found again by it.
type world struct {
	mu    sync.Mutex
	made  map[string]int
	epoch map[string]int64
}

func newWorld() *world { return &world{made: map[string]int{}, epoch: map[string]int64{}} }

// ensure is a cloud's or an agent's call: it searches the key before it makes something, and
// refuses lower epochs.
func (w *world) ensure(run *job.Run) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if run.Epoch < w.epoch[run.JobID] {
		return errors.New("refused: a higher epoch was seen")
	}
	w.epoch[run.JobID] = run.Epoch
	if w.made[run.EffectKey] == 0 {
		w.made[run.EffectKey]++
	}
	return nil
}

// dice is a source of chance that several goroutines share.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) oneIn(n int) bool { return d.roll(n) == 0 }

func (d *dice) roll(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// TestRandomCrashes kills the process again and again, at every failpoint and in the middle of
// transactions, in jobs whose steps wait, fail and start their section over, until the job has
// succeeded. Every effect must have been made, none twice, and every completion recorded once.
func TestRandomCrashes(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		randomCrashes(t, 0, 50)
		return
	}
	randomCrashes(t, 0, someSequences)
}

const someSequences = 200

// TestLongRandomCrashes goes on where TestRandomCrashes ends.
func TestLongRandomCrashes(t *testing.T) {
	t.Parallel()
	sequences := 800
	if raced { // Go ends tests after ten minutes
		sequences = 100
	}
	randomCrashes(t, someSequences, sequences)
}

func randomCrashes(t *testing.T, first, sequences int) {
	t.Helper()
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
			t.Parallel()
			for seed := first + worker; seed < first+sequences && !t.Failed(); seed += workers {
				synctest.Test(t, func(t *testing.T) { crashSequence(t, uint64(seed)) })
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}
		})
	}
}

func crashSequence(t *testing.T, seed uint64) {
	d := &dice{r: rand.New(rand.NewPCG(seed, 1))}
	st := openStore(t)
	w := newWorld()
	p := randomPlan(w, d)
	j := create(t, newEngine(t, config{Store: st}, p),
		job.Request{Kind: p.Kind, Subjects: []string{"servers/x"}})
	for lives := 0; ; lives++ {
		if lives > 200 {
			t.Fatalf("job is still %s after %d lives: %s", j.State, lives, states(j))
		}
		live(t, st, p, d, j.ID, lives < 40)
		var err error
		if j, err = newEngine(t, config{Store: st}, p).Get(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if j.State == job.Succeeded {
			break
		}
		if !j.State.Active() {
			t.Fatalf("job is %s (%s): %s", j.State, j.Reason, states(j))
		}
	}
	checkEffects(t, st, w, j)
}

// live is one life of a process: it ends at a random point, or when the job has come to rest.
func live(t *testing.T, st *store.Store, p plan, d *dice, id string, deadly bool) {
	m := &mortal{Store: st, fate: func() fate {
		if n := d.roll(60); deadly && n <= int(losesAnswer)*2 {
			return fate(n / 2)
		}
		return goesWell
	}}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	m.gone = stop
	stopAtRest := func() {
		if j, err := newEngine(t, config{Store: st}, p).Get(ctx, id); err == nil &&
			!j.State.Active() {
			stop()
		}
	}
	e := newEngine(t, config{Store: m, Owner: fmt.Sprintf("p%d", d.roll(1<<30)),
		Hook: func(point job.Point, _, step string) {
			if m.dead.Load() || deadly && d.oneIn(12) {
				m.die()
				runtime.Goexit()
			}
			if point == job.AfterCommit && step == lastStep {
				stopAtRest()
			}
		}}, p)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		for ctx.Err() == nil {
			stopAtRest()
			time.Sleep(10 * time.Second) // of the bubble's own time
		}
	})
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
}

const lastStep = "e"

func randomPlan(w *world, d *dice) plan {
	back := job.Backoff{First: 10 * time.Millisecond, Max: 100 * time.Millisecond}
	mk := func(kind, section string, always bool) step {
		return step{Kind: kind, Section: section, Always: always, Attempts: 1000, Backoff: back,
			Handler: func(_ context.Context, run *job.Run) (outcome, error) {
				switch n := d.roll(10); {
				case n == 0:
					return failed(errors.New("bad luck"))
				case n == 1:
					return job.Again[*store.Tx](time.Duration(d.roll(500))*time.Millisecond,
						"luck %d",
						d.roll(3))
				case n == 2 && section != "" && !always && d.oneIn(3):
					return job.Back[*store.Tx]("broken")
				}
				if err := w.ensure(run); err != nil {
					return failed(err)
				}
				run.Changed("made %s", run.EffectKey)
				return job.Done(func(ctx context.Context, tx *store.Tx) error {
					_, err := tx.Next(ctx, "done."+run.EffectKey[len(run.JobID):], 1)
					return err
				})
			}}
	}
	return plan{
		Kind:     "crash",
		Sections: map[string]job.Section{"s": {Attempts: 1000}},
		Steps: []step{mk("a", "", false), mk("b", "s", false), mk("c", "s", false),
			mk("d", "s", true), mk(lastStep, "", false)},
	}
}

func checkEffects(t *testing.T, st *store.Store, w *world, j job.Job) {
	for _, s := range j.Steps {
		key := fmt.Sprintf("%s/%s/%d", j.ID, s.Kind, s.Generation)
		if n := w.made[key]; n != 1 {
			t.Errorf("effect %s was made %d times", key, n)
		}
		err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			next, err := tx.Next(ctx, "done."+key[len(j.ID):], 1)
			if next != 2 {
				t.Errorf("step %s was recorded as done %d times", s.Kind, next-1)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	for key, n := range w.made {
		if n > 1 {
			t.Errorf("effect %s was made %d times", key, n)
		}
	}
}
