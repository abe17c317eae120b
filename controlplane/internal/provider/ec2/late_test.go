package ec2

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const (
	window = 5 * time.Second
	tagKey = "understudy:snapshot"
)

// lateEC2 goes on with a call whose caller has given up, and shows what it made some time later.
type lateEC2 struct {
	api
	takes, shows time.Duration
	snapshots    []types.Snapshot
	visible      []time.Time
	calls        int
}

func (l *lateEC2) CreateSnapshot(ctx context.Context, in *ec2.CreateSnapshotInput,
	_ ...option) (*ec2.CreateSnapshotOutput, error) {
	l.calls++
	l.make(in.VolumeId, in.TagSpecifications[0].Tags)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(l.takes):
		return nil, errors.New("the connection was cut")
	}
}

func (l *lateEC2) make(volume *string, tags []types.Tag) {
	l.snapshots = append(l.snapshots,
		types.Snapshot{SnapshotId: aws.String("snap-00000000000000001"), VolumeId: volume,
			Tags: tags, StartTime: aws.Time(time.Now())})
	l.visible = append(l.visible, time.Now().Add(l.shows))
}

func (l *lateEC2) DescribeSnapshots(ctx context.Context, _ *ec2.DescribeSnapshotsInput,
	_ ...option) (*ec2.DescribeSnapshotsOutput, error) {
	out := &ec2.DescribeSnapshotsOutput{}
	for i, s := range l.snapshots {
		if !time.Now().Before(l.visible[i]) {
			out.Snapshots = append(out.Snapshots, s)
		}
	}
	return out, ctx.Err()
}

// longRunning is a provider that was started long ago.
func longRunning(l *lateEC2) *Provider {
	cfg, _ := Config{Consistency: window, Now: time.Now}.withDefaults()
	p := newProvider(cfg, l)
	time.Sleep(time.Hour)
	return p
}

var (
	cutTags = map[string]string{tagKey: "snap-1", "understudy:step": "1/cut/1"}
	cutOf   = provider.CreateSnapshotRequest{VolumeID: "vol-00000000000000001", Tags: cutTags}
	ofCut   = provider.Filter{Tags: map[string]string{tagKey: "snap-1"}}
)

// listed reads a list and how long that took.
func listed(t *testing.T, p *Provider, f provider.Filter) (int, time.Duration) {
	t.Helper()
	began := time.Now()
	list, err := p.ListSnapshots(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return len(list), time.Since(began)
}

func TestCutThatWasGivenUpIsInTheNextList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &lateEC2{takes: time.Second, shows: 2 * time.Second}
		p := longRunning(l)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := p.CreateSnapshot(ctx, cutOf); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
		if n, took := listed(t, p, ofCut); n != 1 || took > 3*time.Second {
			t.Errorf("%d snapshots after %s", n, took)
		}
		if n, took := listed(t, p, ofCut); n != 1 || took != 0 {
			t.Errorf("then %d after %s more", n, took)
		}
		if n, took := listed(t, p,
			provider.Filter{Tags: map[string]string{tagKey: "snap-2"}}); n != 0 && took != 0 {
			t.Errorf("of another %d after %s", n, took)
		}
	})
}

func TestCutThatWasNeverMadeIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &lateEC2{takes: time.Second, shows: time.Hour}
		p := longRunning(l)
		began := time.Now()
		_, err := p.CreateSnapshot(t.Context(), cutOf)
		if took := time.Since(began); err == nil || took < window || took > 2*window {
			t.Errorf("%v after %s", err, took)
		}
		if n, took := listed(t, p, ofCut); n != 0 || took != 0 {
			t.Errorf("%d snapshots after %s more", n, took)
		}
		if l.calls != 1 {
			t.Errorf("%d calls that make a snapshot", l.calls)
		}
	})
}

func TestListHasWhatOthersMadeJustBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &lateEC2{}
		p := longRunning(l)
		l.make(aws.String("vol-00000000000000001"), toTags(cutTags)) // shown at once
		l.shows = 4 * time.Second
		l.make(aws.String("vol-00000000000000001"), toTags(cutTags))
		taken := ofCut
		taken.MadeUntil = time.Now()
		if n, took := listed(t, p, taken); n != 2 || took < window {
			t.Errorf("%d snapshots after %s", n, took)
		}
		if n, took := listed(t, p, taken); n != 2 || took != 0 {
			t.Errorf("then %d after %s more", n, took)
		}
	})
}

func TestThrottledCreationMayHaveBeenMade(t *testing.T) {
	t.Parallel()
	for code, may := range map[string]bool{"RequestLimitExceeded": true, "InternalError": true,
		"": true, "VolumeLimitExceeded": false, "UnauthorizedOperation": false} {
		err := error(&callError{"CreateVolume", "", errors.New("connection reset")})
		if code != "" {
			err = refused(&smithy.GenericAPIError{Code: code}, "CreateVolume", "")
		}
		if got := mayHaveMade(err); got != may {
			t.Errorf("%q: %v", code, got)
		}
	}
	if mayHaveMade(nil) {
		t.Error("no error is none")
	}
}
