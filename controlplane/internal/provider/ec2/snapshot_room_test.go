package ec2

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// A second snapshot of a volume within 15 s is refused, and at once: whoever asks holds commits.
// What the provider says of it beforehand is right.
func TestSnapshotsOfOneVolumeArePaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		f := newFake(t, Config{}, ec2lab.Behaviour{
			Snapshots: ec2lab.SnapshotLimits{Pace: 15 * time.Second},
			Fault: func(action string) ec2lab.Fault {
				if action == "CreateSnapshot" {
					calls++
				}
				return ec2lab.Fault{}
			}})
		id, other := f.newVolume(t, "v", nil), f.newVolume(t, "w", nil)
		f.cut(t, id)
		last, began := time.Now(), time.Now()
		_, err := f.CreateSnapshot(t.Context(), provider.CreateSnapshotRequest{VolumeID: id})
		if after, ok := provider.RetryAfter(err); !ok || after < 15*time.Second {
			t.Errorf("a second one at once: %v, after %s", err, after)
		}
		if took := time.Since(began); took > time.Second || calls != 2 {
			t.Errorf("it was refused after %s and %d calls", took, calls)
		}
		f.cut(t, other)
		if n := f.waitForRoom(t, id, last); n > 20 {
			t.Errorf("%d looks until there was room", n)
		}
		f.cut(t, id)
		// Somebody else's snapshot counts, and another process knows of none.
		if n := f.waitForRoom(t, id, time.Time{}); n < 2 {
			t.Error("a snapshot of a moment ago is not seen")
		}
		f.cut(t, id)
	})
}

// As many as EC2 takes are pending, some of them deleted: the next one waits for them.
func TestPendingSnapshotsAreCounted(t *testing.T) {
	t.Parallel()
	for kind, most := range map[string]int{"gp3": 5, "st1": 1} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, Config{VolumeType: kind}, ec2lab.Behaviour{
					Snapshots: ec2lab.SnapshotLimits{Pending: true, Leaves: 8 * time.Minute}})
				f.memory.SnapshotTime = 20 * time.Minute
				id := f.newVolume(t, "v", nil)
				var ids []string
				for range most {
					if n := f.waitForRoom(t, id, time.Time{}); n > 30 {
						t.Errorf("no room for %d", len(ids)+1)
					}
					ids = append(ids, f.cut(t, id))
				}
				time.Sleep(time.Minute)
				err := f.SnapshotRoom(t.Context(), id, time.Time{})
				if !errors.Is(err, provider.ErrThrottled) {
					t.Errorf("%d are pending: %v", most, err)
				}
				if err := f.DeleteSnapshot(t.Context(), ids[0]); err != nil {
					t.Fatal(err)
				}
				if n := f.waitForRoom(t, id, time.Time{}); n < 8*60 {
					t.Errorf("room after %d s: EC2 is at the deleted one still", n)
				}
				f.cut(t, id)
			})
		})
	}
}

// cut begins a snapshot.
func (f *fake) cut(t *testing.T, volume string) string {
	t.Helper()
	s, err := f.CreateSnapshot(t.Context(), provider.CreateSnapshotRequest{VolumeID: volume})
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

// waitForRoom looks once a second until there is room, and says how often.
func (f *fake) waitForRoom(t *testing.T, volume string, last time.Time) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for n := 1; ; n++ {
		err := f.SnapshotRoom(ctx, volume, last)
		if err == nil {
			return n
		}
		if !errors.Is(err, provider.ErrThrottled) {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
}
