package fleet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestTurnsComeOneAfterTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all turns
		leave, err := all.enter(t.Context(), "db1")
		if err != nil {
			t.Fatal(err)
		}
		if free, err := all.enter(t.Context(), "db2"); err != nil {
			t.Error(err)
		} else {
			free()
		}
		inside := 0
		for range 3 {
			go func() {
				free, err := all.enter(t.Context(), "db1")
				if err != nil {
					t.Error(err)
					return
				}
				if inside++; inside != 1 {
					t.Errorf("%d are inside", inside)
				}
				inside--
				free()
			}()
		}
		// a caller who goes away does not wait for an agent that hangs
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := all.enter(gone, "db1"); !errors.Is(err, context.Canceled) {
			t.Errorf("who went: %v", err)
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if len(all.busy) != 0 {
			t.Errorf("remembered: %v", all.busy)
		}
	})
}
