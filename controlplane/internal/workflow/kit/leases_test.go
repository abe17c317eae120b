package kit

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestLeasesOfJobsThatWentAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := &leases{last: map[string]time.Time{}}
		for i := range 100 {
			Lease{all: all, job: fmt.Sprint(i)}.Renewed()
			time.Sleep(DefaultReserve / 4)
		}
		if n := len(all.last); n > 5 {
			t.Errorf("%d jobs are remembered", n)
		}
		if len(all.last) == 0 {
			t.Error("the last job is forgotten")
		}
	})
}
