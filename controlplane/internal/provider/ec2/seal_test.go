package ec2

import (
	"errors"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// A machine stays the same instance to its cloud-init when it boots again, sealed or not.
func TestSealedMachineBootsAsTheSameInstance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		seal bool
		want string
	}{{false, "enabled required"}, {true, "disabled required"}} {
		f := newFake(t, Config{SealMetadata: test.seal}, ec2lab.Behaviour{CloudInit: true})
		m, err := f.CreateMachine(t.Context(), newMachine)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := f.SealMachine(t.Context(), m.ID); err != nil {
				t.Fatal(err)
			}
		}
		if state := f.server.Metadata(m.ID); state != test.want {
			t.Errorf("sealing %v: the metadata service is %s", test.seal, state)
		}
		boot := map[string]func() error{
			"reboot": func() error { return f.RebootMachine(t.Context(), m.ID) },
			"stop and start": func() error {
				return errors.Join(f.StopMachine(t.Context(), m.ID),
					f.StartMachine(t.Context(), m.ID))
			},
		}
		for name, again := range boot {
			if err := again(); err != nil {
				t.Fatal(err)
			}
			if id := f.server.Booted(m.ID).ID; id != m.ID {
				t.Errorf("sealing %v: after %s cloud-init sees instance %s", test.seal, name, id)
			}
		}
	}
}

func TestProfileNeedsTheMetadataService(t *testing.T) {
	t.Parallel()
	cfg := Config{SealMetadata: true, InstanceProfile: "backup"}
	if _, err := cfg.withDefaults(); !errors.Is(err, provider.ErrInvalid) {
		t.Errorf("a sealed machine with a profile: %v", err)
	}
}
