package app

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Anybody may ask for readiness as often as they like, and a probe that hangs keeps nobody.
func TestProbesAreSparse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		count, hang := 0, make(chan struct{})
		check := sparingly(func(context.Context) error {
			if count++; count == 3 {
				<-hang
			}
			return errors.New("full")
		})
		for range 100 {
			if err := check(t.Context()); err == nil || err.Error() != "full" {
				t.Error(err)
			}
			time.Sleep(11 * time.Millisecond)
		}
		if count != 2 {
			t.Errorf("%d probes within 1.1 s", count)
		}
		time.Sleep(time.Second)
		go func() { _ = check(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := check(ctx); err == nil || !strings.Contains(err.Error(), "has not ended") {
			t.Errorf("beside a probe that hangs: %v", err)
		}
		close(hang)
	})
}
