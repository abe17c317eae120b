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

var keyed = Config{Encrypt: true, KMSKey: "alias/databases"}

// A volume whose key EC2 cannot use vanishes after it was accepted: that is said, with the key, and
// another token makes another once the key is good.
func TestVolumeWhoseKeyCannotBeUsedVanishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, keyed, ec2lab.Behaviour{Keys: ec2lab.Keys{Useless: true}})
		req := provider.CreateVolumeRequest{ClientToken: "one", SizeBytes: gib,
			Tags: map[string]string{"understudy:step": "1/swap_volume/1"}}
		v, err := f.CreateVolume(t.Context(), req)
		if err != nil || v.State != provider.VolumeCreating {
			t.Fatalf("accepted as %+v, %v", v, err)
		}
		made, err := f.ListVolumes(t.Context(), provider.Filter{Tags: req.Tags})
		if err != nil || len(made) > 0 {
			t.Errorf("then there is %+v, %v", made, err)
		}
		_, err = f.CreateVolume(t.Context(), req)
		if !errors.Is(err, provider.ErrEnded) || !strings.Contains(err.Error(), "key") {
			t.Errorf("asked again: %v", err)
		}
		f.server.SetBehaviour(ec2lab.Behaviour{})
		req.ClientToken = "two"
		if v, err = f.CreateVolume(t.Context(), req); err != nil {
			t.Errorf("with another token: %v", err)
		}
		if key, there := f.server.Encrypted()[v.ID]; !there || key != keyed.KMSKey {
			t.Errorf("encrypted with %q", key)
		}
		req.SizeBytes *= 2
		if _, err := f.CreateVolume(t.Context(), req); !errors.Is(err, provider.ErrTokenReused) {
			t.Errorf("with another size: %v", err)
		}
	})
}

// With a key all that is made is encrypted: blank volumes, copies, and what comes with a machine.
func TestEverythingIsEncrypted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		plain := f.newVolume(t, "plain", nil)
		shot, err := f.CreateSnapshot(t.Context(), provider.CreateSnapshotRequest{VolumeID: plain})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if all := f.server.Encrypted(); len(all) > 0 {
			t.Errorf("without a key %v are encrypted", all)
		}
		p := f.another(t, keyed)
		v, err := p.CreateVolume(t.Context(), provider.CreateVolumeRequest{ClientToken: "copy",
			SnapshotID: shot.ID})
		if err != nil {
			t.Fatal(err)
		}
		if key := f.server.Encrypted()[v.ID]; key != keyed.KMSKey {
			t.Errorf("the copy has the key %q", key)
		}
		if _, err := p.CreateMachine(t.Context(), newMachine); err != nil {
			t.Fatal(err)
		}
		if all := f.server.Encrypted(); len(all) != 3 {
			t.Errorf("encrypted are %v: the copy, the root and the data volume should be", all)
		}
	})
}

func TestKeyNeedsEncryption(t *testing.T) {
	t.Parallel()
	if _, err := (Config{KMSKey: "alias/databases"}).withDefaults(); !errors.Is(err,
		provider.ErrInvalid) || !strings.Contains(err.Error(), "--ec2-encrypt") {
		t.Errorf("a key alone: %v", err)
	}
}
