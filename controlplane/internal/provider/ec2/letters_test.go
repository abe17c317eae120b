package ec2

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// A volume is attached under a name that no other had there, also by another process, and under yet
// another one once it hung.
func TestAttachmentTakesALetterThatNothingUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{StuckLetters: true})
		m, err := f.CreateMachine(t.Context(), newMachine)
		if err != nil {
			t.Fatal(err)
		}
		volumes, err := f.ListVolumes(t.Context(), provider.Filter{MachineID: m.ID})
		if err != nil || len(volumes) != 1 {
			t.Fatal(volumes, err)
		}
		if _, err := f.DetachVolume(t.Context(), volumes[0].ID, m.ID); err != nil {
			t.Fatal(err)
		}
		id := f.newVolume(t, "own", nil)
		for range 10 { // each round leaves a letter behind, and there are ten besides the image's
			if _, err := f.AttachVolume(t.Context(), id, m.ID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if v, err := f.GetVolume(t.Context(), id); err != nil ||
				v.Attachment != provider.AttachmentAttached {
				t.Fatalf("the volume is %+v, %v", v, err)
			}
			if _, err := f.DetachVolume(t.Context(), id, m.ID); err != nil {
				t.Fatal(err)
			}
		}
		// Every letter was used: it hangs, and can be taken off.
		if _, err := f.AttachVolume(t.Context(), id, m.ID); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.Sleep(time.Hour)
		v, err := f.GetVolume(t.Context(), id)
		if err != nil || v.Attachment != provider.AttachmentAttaching ||
			v.AttachedAt.After(began) || v.AttachedAt.Before(began.Add(-time.Minute)) {
			t.Fatalf("the volume is %+v, %v", v, err)
		}
		if _, err := f.DetachVolume(t.Context(), id, m.ID); err != nil {
			t.Fatal(err)
		}
		if v, err := f.GetVolume(t.Context(), id); err != nil || v.MachineID != "" {
			t.Errorf("the volume is %+v, %v", v, err)
		}
		if err := f.TerminateMachine(t.Context(), m.ID); err != nil || len(f.letters.used) > 0 {
			t.Errorf("of a machine that ended %v is remembered, %v", f.letters.used, err)
		}
	})
}
