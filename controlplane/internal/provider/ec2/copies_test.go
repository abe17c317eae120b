package ec2

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Backups take over the tags of a volume, and what is restored from them those of the backup. They
// are not the fleet's: what deletes by tags would delete the backups with what they are of.
func TestWhatOthersCopyWithItsTagsIsNotOurs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{Access: ec2lab.Access{Policy: everything}})
		ctx, ofFleet := t.Context(), provider.Filter{Tags: map[string]string{tagFleet: fleet,
			"understudy:job": "1"}}
		tags := map[string]string{"understudy:job": "1"}
		blank := f.newVolume(t, "v", tags)
		cut, err := f.CreateSnapshot(ctx, provider.CreateSnapshotRequest{VolumeID: blank,
			Tags: tags})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		copied, err := f.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: "c",
			SnapshotID: cut.ID, Tags: tags})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		backup := map[string]bool{}
		for _, id := range []string{blank, copied.ID} {
			v, err := f.volume(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			s, err := f.api.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: aws.String(id),
				TagSpecifications: specification(types.ResourceTypeSnapshot, fromTags(v.Tags))})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			restored, err := f.api.CreateVolume(ctx, &ec2.CreateVolumeInput{
				SnapshotId: s.SnapshotId, AvailabilityZone: v.AvailabilityZone,
				TagSpecifications: specification(types.ResourceTypeVolume, fromTags(s.Tags))})
			if err != nil {
				t.Fatal(err)
			}
			backup[*s.SnapshotId], backup[*restored.VolumeId] = true, true
		}
		time.Sleep(time.Hour)
		snapshots, err := f.ListSnapshots(ctx, ofFleet)
		if err != nil || len(snapshots) != 1 || snapshots[0].ID != cut.ID ||
			!maps.Equal(snapshots[0].Tags, cut.Tags) {
			t.Errorf("the fleet's snapshots are %+v, %v", snapshots, err)
		}
		volumes, err := f.ListVolumes(ctx, ofFleet)
		if err != nil || len(volumes) != 2 || volumes[0].ID != blank ||
			volumes[1].ID != copied.ID {
			t.Errorf("the fleet's volumes are %+v, %v", volumes, err)
		}
		all, err := f.ListVolumes(ctx, provider.Filter{})
		if err != nil || len(all) != 4 {
			t.Errorf("all volumes are %+v, %v", all, err)
		}
	})
}

// A copy of the fleet's snapshot that somebody makes, be it in another region, has its tags, and is
// of no volume of the fleet.
func TestCopiedSnapshotIsNotOurs(t *testing.T) {
	t.Parallel()
	own := types.Snapshot{VolumeId: aws.String("vol-0ec2a000000000001"), Tags: toTags(
		map[string]string{tagVolume: "vol-0ec2a000000000001"})}
	of := own
	of.VolumeId = aws.String("vol-ffffffff")
	older := types.Snapshot{VolumeId: of.VolumeId, Tags: toTags(map[string]string{"a": "b"})}
	for _, test := range []struct {
		snapshot types.Snapshot
		want     bool
	}{{own, false}, {of, true}, {older, false}} {
		if got := snapshotCopied(test.snapshot); got != test.want {
			t.Errorf("%+v is another's: %t", test.snapshot, got)
		}
	}
}

// An instance that somebody restores from a backup of a machine may have its tags, and was launched
// by another call.
func TestRestoredInstanceIsNotOurs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		zones := ec2lab.Zones()
		f := newFake(t, Config{}, ec2lab.Behaviour{Access: ec2lab.Access{Policy: everything},
			Launches: ec2lab.Launches{Full: zones[:1]}})
		ctx, req := t.Context(), newMachine
		req.OtherZones, req.Tags = true, map[string]string{"understudy:job": "1"}
		ofJob := provider.Filter{Tags: req.Tags}
		m, err := f.CreateMachine(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		i, err := f.instance(ctx, m.ID)
		if err != nil {
			t.Fatal(err)
		}
		from, err := f.image(ctx, image)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.api.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: i.ImageId,
			InstanceType: i.InstanceType, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			BlockDeviceMappings: f.cfg.goingWithMachine(from), SubnetId: i.SubnetId,
			TagSpecifications: specification(types.ResourceTypeInstance,
				fromTags(i.Tags))}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		ours, err := f.ListMachines(ctx, ofJob)
		if err != nil || len(ours) != 1 || ours[0].ID != m.ID {
			t.Errorf("the job's machines are %+v, %v", ours, err)
		}
		if all, err := f.ListMachines(ctx, provider.Filter{}); err != nil || len(all) != 2 {
			t.Errorf("all machines are %+v, %v", all, err)
		}
	})
}

// The default volume of one machine that somebody attaches to another, under the name that its own
// one had, is not the other's: jobs delete what is.
func TestDefaultVolumeOfAnotherMachineIsNotDefault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{Access: ec2lab.Access{Policy: everything}})
		ctx := t.Context()
		its := func(machine string) provider.Volume {
			t.Helper()
			time.Sleep(time.Hour)
			list, err := f.ListVolumes(ctx, provider.Filter{MachineID: machine})
			if err != nil || len(list) != 1 {
				t.Fatalf("machine %s has %+v, %v", machine, list, err)
			}
			return list[0]
		}
		var machines []string
		for _, name := range []string{"db1", "db2"} {
			req := newMachine
			req.ClientToken, req.Name = name, name
			m, err := f.CreateMachine(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			machines = append(machines, m.ID)
		}
		var device *string
		own, moved := its(machines[1]), its(machines[0])
		for i, v := range []provider.Volume{moved, own} {
			found, err := f.volume(ctx, v.ID)
			if err != nil || !v.Default {
				t.Fatalf("%+v is the default one of machine %s: %v", v, machines[i], err)
			}
			device = found.Attachments[0].Device
			if _, err := f.DetachVolume(ctx, v.ID, machines[i]); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		if _, err := f.api.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: aws.String(moved.ID),
			InstanceId: aws.String(machines[1]), Device: device}); err != nil {
			t.Fatal(err)
		}
		if v := its(machines[1]); v.ID != moved.ID || v.Default {
			t.Errorf("the volume of another machine is %+v", v)
		}
	})
}
