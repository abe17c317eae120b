package observe_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/observe"
)

// hanging is a MariaDB that answers nothing.
type hanging struct{ asked int }

func (h *hanging) Status(ctx context.Context) (mariadb.Status, error) {
	h.asked++
	<-ctx.Done()
	return mariadb.Status{}, ctx.Err()
}

func TestAMariaDBThatHangsIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h, w := &hanging{}, observe.New()
		go w.Run(ctx, func(context.Context) bool { return true }, h)
		time.Sleep(5 * observe.Interval)
		cancel()
		synctest.Wait()
		if h.asked < 3 {
			t.Errorf("asked %d times", h.asked)
		}
	})
}
