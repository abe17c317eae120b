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

// A growth whose answer was lost may be over before EC2 shows anything of it: EC2 refuses the size
// then, as the one that the volume has. A size that it never takes stays refused.
func TestGrowthThatIsOverBeforeItShows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		late := ec2lab.Behaviour{ModifyTime: time.Millisecond, Lags: map[string]time.Duration{
			"DescribeVolumesModifications": 3 * time.Second, "DescribeVolumes": 3 * time.Second}}
		f := newFake(t, Config{}, late)
		id := f.newVolume(t, "v", nil)
		time.Sleep(time.Minute)
		losing, asked := late, 0
		losing.Fault = func(action string) ec2lab.Fault {
			if action == "ModifyVolume" {
				asked++
			}
			return ec2lab.Fault{LoseAnswer: action == "ModifyVolume" && asked == 1}
		}
		f.server.SetBehaviour(losing)
		if v, err := f.GrowVolume(t.Context(), id, 2*gib); err != nil || v.SizeBytes != 2*gib {
			t.Errorf("%+v %v", v, err)
		}
		if asked < 2 {
			t.Errorf("EC2 was asked %d times: it refused nothing", asked)
		}
		time.Sleep(time.Hour)
		never := late
		never.Fault = func(action string) ec2lab.Fault {
			if action == "ModifyVolume" {
				return ec2lab.Fault{Refuse: "InvalidParameterValue", Message: "it is too large"}
			}
			return ec2lab.Fault{}
		}
		f.server.SetBehaviour(never)
		if _, err := f.GrowVolume(t.Context(), id, 3*gib); !errors.Is(err, provider.ErrInvalid) {
			t.Errorf("a size that EC2 does not take: %v", err)
		}
	})
}
