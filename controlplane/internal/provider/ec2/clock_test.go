package ec2

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// A clock that jumps fails no call, not even one that is sent once: EC2's answer says its time.
func TestClockThatJumps(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{10 * time.Minute, -10 * time.Minute, 2 * time.Hour,
		-2 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, Config{}, ec2lab.Behaviour{})
			id := f.newVolume(t, "v", nil)
			m, err := f.CreateMachine(t.Context(), newMachine)
			if err != nil {
				t.Fatal(err)
			}
			f.server.SetBehaviour(ec2lab.Behaviour{Dates: ec2lab.Dates{Ahead: ahead}})
			if _, err := f.CreateSnapshot(t.Context(),
				provider.CreateSnapshotRequest{VolumeID: id}); err != nil {
				t.Errorf("a snapshot when EC2's clock jumped by %s: %v", ahead, err)
			}
			f.server.SetBehaviour(ec2lab.Behaviour{})
			if _, err := f.AttachVolume(t.Context(), id, m.ID); err != nil {
				t.Errorf("attaching when EC2's clock jumped back by %s: %v", ahead, err)
			}
		})
	}
}

// A clock that the SDK does not correct is named with both times, and the call is worth a retry.
func TestWrongClockIsNamed(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{10 * time.Minute, 2 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, Config{}, ec2lab.Behaviour{Dates: ec2lab.Dates{Ahead: ahead}})
			f.api = ec2.New(ec2.Options{Region: ec2lab.Region, Retryer: aws.NopRetryer{},
				BaseEndpoint: aws.String("http://ec2.lab"), HTTPClient: f.server.Direct(),
				DisableClockSkewCorrection: true,
				Credentials: credentials.NewStaticCredentialsProvider(ec2lab.AccessKey, "secret",
					"")})
			_, err := f.ListVolumes(t.Context(), provider.Filter{})
			if after, ok := provider.RetryAfter(err); !errors.Is(err, provider.ErrExpired) ||
				!ok || after < time.Second {
				t.Errorf("%s: %v, after %s", ahead, err, after)
			}
			for _, at := range []time.Time{time.Now(), time.Now().Add(ahead)} {
				if err == nil || !strings.Contains(err.Error(), inUTC(at)) {
					t.Errorf("%v does not say %s", err, inUTC(at))
				}
			}
			if err := f.Check(t.Context()); err == nil ||
				!strings.Contains(err.Error(), inUTC(time.Now())) {
				t.Errorf("the check says %v", err)
			}
		})
	}
}

// Credentials that have expired are no matter of clocks, and may be renewed: a job waits for that.
func TestExpiredCredentials(t *testing.T) {
	t.Parallel()
	f := newFake(t, Config{}, ec2lab.Behaviour{Dates: ec2lab.Dates{KeyExpired: true}})
	_, err := f.ListVolumes(t.Context(), provider.Filter{})
	if !errors.Is(err, provider.ErrExpired) || !strings.Contains(err.Error(), "credentials") ||
		strings.Contains(err.Error(), "clock") {
		t.Errorf("expired: %v", err)
	}
	f.server.SetBehaviour(ec2lab.Behaviour{
		Fault: func(string) ec2lab.Fault { return ec2lab.Fault{Refuse: "AuthFailure"} }})
	if _, err := f.ListVolumes(t.Context(), provider.Filter{}); !errors.Is(err,
		provider.ErrDenied) {
		t.Errorf("refused at the right time: %v", err)
	}
}

// A card that was plugged in later, or that EC2 lists first, makes no machine younger.
func TestCreatedAtIsThatOfThePrimaryCard(t *testing.T) {
	t.Parallel()
	born := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	card := func(index int32, at time.Time) types.InstanceNetworkInterface {
		return types.InstanceNetworkInterface{Attachment: &types.InstanceNetworkInterfaceAttachment{
			DeviceIndex: aws.Int32(index), AttachTime: aws.Time(at)}}
	}
	started := aws.Time(born.Add(24 * time.Hour))
	for name, test := range map[string]struct {
		machine types.Instance
		want    time.Time
	}{
		"a second card first": {types.Instance{LaunchTime: started,
			NetworkInterfaces: []types.InstanceNetworkInterface{
				card(1, born.Add(time.Hour)), card(0, born)}}, born},
		"no cards": {types.Instance{LaunchTime: started}, *started},
	} {
		if got := createdAt(test.machine); !got.Equal(test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
