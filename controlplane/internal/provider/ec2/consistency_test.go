package ec2

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// asked repeats a call as jobs do: for as long as it asks to wait.
func asked(t *testing.T, what string, call func() error) error {
	t.Helper()
	for began := time.Now(); ; {
		err := call()
		after, wait := provider.RetryAfter(err)
		if !wait {
			return err
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("%s is still waited for after %s", what, took)
			return nil
		}
		time.Sleep(after)
	}
}

// everything is a policy without conditions: EC2 says of what it does not know yet that it is not
// found, and not "unauthorized".
const everything = `{"Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}]}`

// What EC2 made a moment ago is found by each call, however late that call knows it, and no call
// takes longer than a server may be held still.
func TestEachCallKnowsOfWhatIsNewInItsOwnTime(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]string{"documented": "", "everything": everything} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachCallKnowsInItsOwnTime(t, ec2lab.Access{Policy: policy})
		})
	}
}

func eachCallKnowsInItsOwnTime(t *testing.T, access ec2lab.Access) {
	t.Helper()
	for _, action := range []string{"DescribeVolumes", "DescribeInstances", "AttachVolume",
		"DescribeSnapshots", "CreateSnapshot", "CreateTags", "CreateVolume", "DeleteVolume",
		"TerminateInstances", "DeleteSnapshot", "ModifyVolume", "DescribeVolumesModifications",
		"DetachVolume"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, Config{}, ec2lab.Behaviour{Access: access,
				Lags: map[string]time.Duration{action: time.Minute}})
			ctx := t.Context()
			m, err := f.CreateMachine(ctx, newMachine)
			if err != nil {
				t.Fatal(err)
			}
			v, err := f.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: "v",
				SizeBytes: gib})
			if err != nil {
				t.Fatal(err)
			}
			snapshot := ""
			for _, step := range []struct {
				name string
				call func() error
			}{
				{"the machine", func() error { _, err := f.GetMachine(ctx, m.ID); return err }},
				{"the volume", func() error { _, err := f.GetVolume(ctx, v.ID); return err }},
				{"the machine's volumes", func() error {
					list, err := f.ListVolumes(ctx, provider.Filter{MachineID: m.ID})
					if err == nil && (len(list) != 1 || !list[0].Default) {
						t.Errorf("the machine's volumes are %v", list)
					}
					return err
				}},
				{"growing", func() error {
					_, err := f.GrowVolume(ctx, v.ID, 2*gib)
					return err
				}},
				{"tags", func() error {
					return f.SetTags(ctx, v.ID, map[string]string{"a": "b"})
				}},
				{"a snapshot", func() error {
					s, err := f.CreateSnapshot(ctx,
						provider.CreateSnapshotRequest{VolumeID: v.ID})
					snapshot = s.ID
					return err
				}},
				{"the snapshot", func() error {
					_, err := f.GetSnapshot(ctx, snapshot)
					return err
				}},
				{"a copy", func() error {
					_, err := f.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: "w",
						SnapshotID: snapshot})
					return err
				}},
				{"attaching", func() error {
					_, err := f.AttachVolume(ctx, v.ID, m.ID)
					return err
				}},
				{"detaching", func() error {
					_, err := f.DetachVolume(ctx, v.ID, m.ID)
					return err
				}},
				{"the machine's end", func() error { return f.TerminateMachine(ctx, m.ID) }},
				{"the volume's end", func() error { return f.DeleteVolume(ctx, v.ID) }},
				{"the snapshot's end", func() error { return f.DeleteSnapshot(ctx, snapshot) }},
			} {
				what := fmt.Sprintf("%s knows late: %s", action, step.name)
				if err := asked(t, what, func() error {
					began := time.Now()
					err := step.call()
					if took := time.Since(began); took > 2*patience {
						t.Errorf("%s: one call took %s", what, took)
					}
					return err
				}); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// A complete list has what a process of before made, whichever job asks for it.
func TestCompleteListAfterAStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{Consistency: time.Minute})
		m, err := f.CreateMachine(t.Context(), newMachine)
		if err != nil {
			t.Fatal(err)
		}
		next := f.another(t, Config{})
		time.Sleep(2 * patience)
		var list []provider.Machine
		if err := asked(t, "the list", func() (err error) {
			list, err = next.ListMachines(t.Context(), provider.Filter{Tags: newMachine.Tags}.All())
			return err
		}); err != nil || len(list) != 1 || list[0].ID != m.ID {
			t.Errorf("listed %v, %v", list, err)
		}
	})
}

// EC2 knows a token, and its lists do not show yet what that made: nobody concludes anything.
func TestTokenThatEC2KnowsBeforeItShowsItsMachine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{Consistency: 30 * time.Second})
		m, err := f.CreateMachine(t.Context(), newMachine)
		if err != nil {
			t.Fatal(err)
		}
		other := f.another(t, Config{})
		newer := newMachine
		newer.UserData = []byte("another token")
		for range 100 {
			again, err := other.CreateMachine(t.Context(), newer)
			if err == nil {
				if again.ID != m.ID {
					t.Errorf("made %s and %s", m.ID, again.ID)
				}
				return
			}
			after, wait := provider.RetryAfter(err)
			if !wait {
				t.Fatalf("while %s runs: %v", m.ID, err)
			}
			time.Sleep(after)
		}
		t.Error("it never shows")
	})
}

// A snapshot whose answer was lost shows a minute later: who removes what is left waits for it, and
// who holds a server still does not.
func TestLostSnapshotThatShowsLateIsInACompleteList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		id := f.newVolume(t, "v", nil)
		f.server.SetBehaviour(ec2lab.Behaviour{Consistency: time.Minute,
			Fault: func(action string) ec2lab.Fault {
				return ec2lab.Fault{LoseAnswer: action == "CreateSnapshot"}
			}})
		began := time.Now()
		_, err := f.CreateSnapshot(t.Context(),
			provider.CreateSnapshotRequest{VolumeID: id, Tags: cutTags})
		if took := time.Since(began); !lost(err) || took > 2*patience {
			t.Errorf("the answer was lost: %v after %s", err, took)
		}
		began = time.Now()
		if list, err := f.ListSnapshots(t.Context(), ofCut); err != nil || len(list) > 0 ||
			time.Since(began) > patience {
			t.Errorf("at once there are %v, %v after %s", list, err, time.Since(began))
		}
		all := ofCut
		all.Complete = true
		var list []provider.Snapshot
		err = asked(t, "the list", func() (err error) {
			list, err = f.ListSnapshots(t.Context(), all)
			return err
		})
		if err != nil || len(list) != 1 {
			t.Errorf("left is %v, %v", list, err)
		}
	})
}

// What another process made is waited for in a complete list, after it was taken over.
func TestCompleteListHasWhatOthersMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		id := f.newVolume(t, "v", nil)
		f.server.SetBehaviour(ec2lab.Behaviour{Consistency: time.Minute})
		if _, err := f.CreateSnapshot(t.Context(),
			provider.CreateSnapshotRequest{VolumeID: id, Tags: cutTags}); err != nil {
			t.Fatal(err)
		}
		other, all := f.another(t, Config{}), ofCut
		all.Complete, all.MadeUntil = true, time.Now()
		var list []provider.Snapshot
		err := asked(t, "the list", func() (err error) {
			list, err = other.ListSnapshots(t.Context(), all)
			return err
		})
		if err != nil || len(list) != 1 {
			t.Errorf("there are %v, %v", list, err)
		}
	})
}

// An ID that nobody here made is not waited for.
func TestUnknownIDIsNotFoundAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		began := time.Now()
		_, err := f.GetVolume(t.Context(), "vol-00000000000000001")
		if took := time.Since(began); !errors.Is(err, provider.ErrNotFound) || took > 0 {
			t.Errorf("%v after %s", err, took)
		}
	})
}

// What is attached is not taken for detached because EC2 does not know of that yet.
func TestAttachmentThatShowsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		m, err := f.CreateMachine(t.Context(), newMachine)
		if err != nil {
			t.Fatal(err)
		}
		id := f.newVolume(t, "v", nil)
		f.server.SetBehaviour(ec2lab.Behaviour{
			Lags: map[string]time.Duration{"DetachVolume": time.Minute}})
		if _, err := f.AttachVolume(t.Context(), id, m.ID); err != nil {
			t.Fatal(err)
		}
		if err := asked(t, "detaching", func() error {
			_, err := f.DetachVolume(t.Context(), id, m.ID)
			return err
		}); err != nil {
			t.Error(err)
		}
		if v, err := f.GetVolume(t.Context(), id); err != nil || v.MachineID != "" {
			t.Errorf("then it is %+v, %v", v, err)
		}
		if _, err := f.DetachVolume(t.Context(), id, m.ID); !errors.Is(err,
			provider.ErrIncorrectState) {
			t.Errorf("detached again: %v", err)
		}
	})
}

// A machine that shows before its volumes is not one without a default data volume.
func TestVolumesOfANewMachineThatShowLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{
			Lags: map[string]time.Duration{"DescribeVolumes": 30 * time.Second}})
		m, err := f.CreateMachine(t.Context(), newMachine)
		if err != nil {
			t.Fatal(err)
		}
		other := f.another(t, Config{}) // of another process
		if err := asked(t, "the list", func() error {
			list, err := other.ListVolumes(t.Context(), provider.Filter{MachineID: m.ID})
			if err == nil && (len(list) != 1 || !list[0].Default) {
				t.Errorf("the machine has %v", list)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

// A pending snapshot that is deleted before it shows counts as one under way.
func TestSnapshotThatIsDeletedBeforeItShowsCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		f.memory.SnapshotTime = time.Hour
		id := f.newVolume(t, "v", nil)
		f.server.SetBehaviour(ec2lab.Behaviour{
			Lags: map[string]time.Duration{"DescribeSnapshots": 20 * time.Second}})
		for range pendingLimit("gp3") {
			s, err := f.CreateSnapshot(t.Context(), provider.CreateSnapshotRequest{VolumeID: id})
			if err != nil {
				t.Fatal(err)
			}
			if err := asked(t, "its end", func() error {
				return f.DeleteSnapshot(t.Context(), s.ID)
			}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(snapshotPace)
		if err := f.SnapshotRoom(t.Context(), id, time.Time{}); !errors.Is(err,
			provider.ErrThrottled) {
			t.Errorf("there is room: %v", err)
		}
	})
}

// At the quota a volume that its token made, and that does not show yet, is waited for.
func TestVolumeAtTheQuotaThatShowsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		req := provider.CreateVolumeRequest{ClientToken: "v", SizeBytes: gib,
			Tags: map[string]string{"understudy:step": "1/swap_volume/1"}}
		at := ec2lab.Behaviour{Consistency: 30 * time.Second, Quota: ec2lab.Quota{Volumes: 1},
			Fault: func(action string) ec2lab.Fault {
				return ec2lab.Fault{LoseAnswer: action == "CreateVolume"}
			}}
		f.server.SetBehaviour(at)
		if _, err := f.CreateVolume(t.Context(), req); err == nil {
			t.Error("the answer was lost")
		}
		at.Fault = nil
		f.server.SetBehaviour(at)
		if err := asked(t, "the volume", func() error {
			_, err := f.CreateVolume(t.Context(), req)
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}
