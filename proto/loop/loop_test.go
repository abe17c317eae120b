package loop_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/proto/loop"
)

var spec = loop.Spec{Name: "read the list", Means: "the list is old", Every: time.Second,
	Limit: 2 * time.Second, LateAfter: 10 * time.Second}

func TestARoundHasADeadlineAndIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		set := loop.NewSet(slog.New(slog.NewTextHandler(&out, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		var rounds, answers atomic.Int64
		go set.Run(ctx, spec, func(ctx context.Context) error {
			rounds.Add(1)
			if answers.Load() > 0 {
				return nil
			}
			<-ctx.Done() // a store that does not answer
			return ctx.Err()
		})
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if rounds.Load() < 4 || len(set.Late()) != 0 {
			t.Errorf("%d rounds, late: %v", rounds.Load(), set.Late())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		late := set.Late()
		if len(late) != 1 || !errors.Is(late[0].Err, context.DeadlineExceeded) {
			t.Errorf("late: %v", late)
		}
		answers.Add(1)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(set.Late()) != 0 {
			t.Errorf("still late: %v", set.Late())
		}
		cancel()
		synctest.Wait()
		time.Sleep(time.Minute)
		if len(set.Late()) != 0 {
			t.Error("a loop that has ended is late")
		}
		for _, want := range []string{"a round failed", "the loop is late", "the list is old",
			"on time again"} {
			if n := strings.Count(out.String(), want); n != 1 {
				t.Errorf("%q is in the log %d times:\n%s", want, n, &out)
			}
		}
	})
}

// A round that does not even heed its deadline is noticed all the same.
func TestAStuckRoundIsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		set := loop.NewSet(slog.New(slog.NewTextHandler(&out, nil)))
		l := set.Start(spec)
		free := make(chan struct{})
		go l.Round(t.Context(), func(context.Context) error {
			<-free
			return nil
		})
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if len(set.Late()) != 1 || !strings.Contains(out.String(), "the loop is late") {
			t.Errorf("late: %v, log: %s", set.Late(), &out)
		}
		close(free)
		synctest.Wait()
		l.End()
		l.End()
	})
}

func TestAPauseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := loop.Pause(ctx, time.Second); err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if err := loop.Pause(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(began) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
