package enrollment

import (
	"fmt"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	l := newLimiter(func() time.Time { return now })
	for i := range burst {
		if wait := l.take("a"); wait != 0 {
			t.Fatalf("try %d has to wait %v", i, wait)
		}
	}
	if wait := l.take("a"); wait != every {
		t.Errorf("after the burst: %v", wait)
	}
	if wait := l.take("b"); wait != 0 {
		t.Errorf("another address has to wait %v", wait)
	}
	now = now.Add(every)
	if first, second := l.take("a"), l.take("a"); first != 0 || second != every {
		t.Errorf("after a while: %v %v", first, second)
	}
	now = now.Add(time.Hour)
	for i := range burst {
		if wait := l.take("a"); wait != 0 {
			t.Fatalf("an hour later, try %d has to wait %v", i, wait)
		}
	}
}

func TestLimiterDoesNotGrow(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	l := newLimiter(func() time.Time { return now })
	for i := range 3 * maxSources {
		l.take(fmt.Sprint(i))
		if i == maxSources {
			now = now.Add(time.Hour)
		}
	}
	if len(l.freeAt) > maxSources {
		t.Errorf("remembers %d addresses", len(l.freeAt))
	}
}
