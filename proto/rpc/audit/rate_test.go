package audit

import (
	"fmt"
	"testing"
	"time"
)

func TestACrowdDoesNotGrow(t *testing.T) {
	t.Parallel()
	c, now, r := crowd{}, time.Now(), rate{burst: 2, every: time.Second}
	for i := range mostAddresses {
		c.take(fmt.Sprint(i), r, now)
	}
	now = now.Add(time.Minute)
	for range 2 {
		c.take("busy", r, now)
	}
	for i := range 3 * mostAddresses {
		c.take(fmt.Sprint("late", i), r, now)
		if len(c) > mostAddresses {
			t.Fatalf("%d are remembered", len(c))
		}
		if i == 0 && c.take("busy", r, now) == 0 {
			t.Error("who had taken all is forgotten with the others")
		}
	}
}
