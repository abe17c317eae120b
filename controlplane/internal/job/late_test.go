package job_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/loop"
)

// hung is a store that answers no read while it hangs.
type hung struct {
	*store.Store
	hangs atomic.Bool
}

func (h *hung) Read(ctx context.Context,
	fn func(ctx context.Context, tx *store.Tx) error) error {
	if h.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.Store.Read(ctx, fn)
}

func TestAScanOfAStoreThatHangsIsLateAndGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st, loops := &hung{Store: openStore(t)}, loop.NewSet(quiet())
		p := plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}}
		stop := start(t, newEngine(t, config{Store: st, Loops: loops}, p))
		defer stop()
		synctest.Wait()
		if late := loops.Late(); len(late) != 0 {
			t.Errorf("late at the start: %v", late)
		}
		st.hangs.Store(true)
		time.Sleep(time.Minute)
		if late := loops.Late(); len(late) != 1 || late[0].Err == nil {
			t.Errorf("late: %v", late)
		}
		st.hangs.Store(false)
		other := newEngine(t, config{Store: st.Store}, p)
		j := create(t, other, job.Request{Kind: "k"})
		await(t, other, j.ID, inState(job.Succeeded))
		if late := loops.Late(); len(late) != 0 {
			t.Errorf("still late: %v", late)
		}
	})
}
