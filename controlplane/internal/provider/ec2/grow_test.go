package ec2

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func TestVolumeGrowsFourTimesADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{OptimizeTime: time.Hour})
		id := f.newVolume(t, "own", nil)
		grow := func(size int64, want error, says string) {
			t.Helper()
			_, err := f.GrowVolume(t.Context(), id, size*gib)
			if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("to %d GiB: %v", size, err)
			}
		}
		for size := int64(2); size <= 5; size++ {
			grow(size, nil, "")
			grow(size, nil, "")
			grow(size+1, provider.ErrIncorrectState, "completed")
			time.Sleep(2 * time.Hour)
		}
		grow(6, provider.ErrLimitExceeded, "four times in 24 hours")
		time.Sleep(16 * time.Hour)
		grow(6, nil, "")
	})
}

// A growth whose answer was lost is done once EC2 shows it; until then nobody hears that another
// change is in its way.
func TestGrowthThatShowsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		late := ec2lab.Behaviour{ModifyTime: time.Hour,
			Lags: map[string]time.Duration{"DescribeVolumesModifications": time.Minute}}
		f := newFake(t, Config{}, late)
		id := f.newVolume(t, "v", nil)
		losing := late
		losing.Fault = func(action string) ec2lab.Fault {
			return ec2lab.Fault{LoseAnswer: action == "ModifyVolume"}
		}
		f.server.SetBehaviour(losing)
		if _, err := f.GrowVolume(t.Context(), id, 2*gib); !lost(err) {
			t.Errorf("the answer was lost: %v", err)
		}
		f.server.SetBehaviour(late)
		if err := asked(t, "the growth", func() error {
			_, err := f.GrowVolume(t.Context(), id, 2*gib)
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}
