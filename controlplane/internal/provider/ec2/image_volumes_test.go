package ec2

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

var newMachine = provider.CreateMachineRequest{ClientToken: "machine", Name: "db1", Image: image,
	Tags: map[string]string{"understudy:role": "machine"}}

// defaults are how many volumes of a machine made from such AMIs there are, and how many of them a
// job takes for the image's own data volume, which it deletes.
func defaults(t *testing.T, like ec2lab.Images) (all, replaced int, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{Images: like})
		m, made := f.CreateMachine(t.Context(), newMachine)
		if err = made; err != nil {
			return
		}
		time.Sleep(time.Hour)
		volumes, listed := f.ListVolumes(t.Context(), provider.Filter{MachineID: m.ID})
		if listed != nil {
			t.Fatal(listed)
		}
		byTag, listed := f.ListVolumes(t.Context(), provider.Filter{Tags: newMachine.Tags})
		if listed != nil || len(byTag) != len(volumes) {
			t.Errorf("by tag %d volumes, by machine %d: %v", len(byTag), len(volumes), listed)
		}
		for _, v := range volumes {
			all++
			if v.Default {
				replaced++
			}
			if !v.DeleteOnTermination {
				t.Errorf("volume %s stays when the machine goes", v.ID)
			}
		}
	})
	return all, replaced, err
}

func TestOneVolumeOfAnImageIsReplacedAndNoMore(t *testing.T) {
	t.Parallel()
	more := []string{"/dev/sdg", "/dev/xvdh"}
	for name, test := range map[string]struct {
		like          ec2lab.Images
		all, replaced int
		refused       string
	}{
		"one volume":  {ec2lab.Images{}, 1, 1, ""},
		"no tag":      {ec2lab.Images{Volumes: more}, 0, 0, "understudy:data-device"},
		"tagged":      {imagesTagged(more, "/dev/sdf"), 3, 1, ""},
		"other name":  {imagesTagged(more, "/dev/sdh"), 3, 1, ""},
		"none of all": {imagesTagged(more, "none"), 3, 0, ""},
		"not there":   {imagesTagged(more, "/dev/sdz"), 0, 0, "/dev/sdf, /dev/sdg, /dev/xvdh"},
	} {
		all, replaced, err := defaults(t, test.like)
		if test.refused == "" && err != nil || test.refused != "" &&
			(!errors.Is(err, provider.ErrInvalid) || !strings.Contains(err.Error(), test.refused)) {
			t.Errorf("%s: %v", name, err)
		}
		if all != test.all || replaced != test.replaced {
			t.Errorf("%s: %d volumes, %d to be replaced", name, all, replaced)
		}
	}
}

func imagesTagged(volumes []string, device string) ec2lab.Images {
	return ec2lab.Images{Volumes: volumes, Tags: map[string]string{tagDataDevice: device}}
}

// The root volume is whatever the AMI calls it.
func TestRootVolumeIsNoDataVolume(t *testing.T) {
	t.Parallel()
	for _, root := range []string{"/dev/xvda", "/dev/sda1", "/dev/sda2", "/dev/xvdb"} {
		all, replaced, err := defaults(t, ec2lab.Images{Root: root})
		if err != nil || all != 1 || replaced != 1 {
			t.Errorf("root %s: %d volumes, %d to be replaced: %v", root, all, replaced, err)
		}
	}
}

func TestImagesSayWhyTheyCannotBeUsed(t *testing.T) {
	t.Parallel()
	f := newFake(t, Config{},
		ec2lab.Behaviour{Images: ec2lab.Images{Volumes: []string{"/dev/sdg"}}})
	images, err := f.Images(t.Context())
	if err != nil || len(images) != 1 || !strings.Contains(images[0].Problem, tagDataDevice) {
		t.Fatalf("%+v: %v", images, err)
	}
	if !slices.ContainsFunc(provider.Problems(f.Check(t.Context())), func(line string) bool {
		return strings.Contains(line, tagDataDevice)
	}) {
		t.Errorf("the check does not say so")
	}
}
