package manual_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func TestRefusalIsToldOnceAndThenAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, v := w.machine(), w.volume("scsi-a")
	if _, err := w.AttachVolume(t.Context(), v.ID, m.ID); err != nil {
		t.Fatal(err)
	}
	task := w.task(v.ID)
	for range 2 {
		if _, err := w.RefuseTask(t.Context(), task.ID, "no free slot"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.CompleteTask(t.Context(), task.ID, provider.TaskResult{})
	wants(t, err, provider.ErrIncorrectState, "refused", "no free slot")
	w.restart()
	_, err = w.AttachVolume(t.Context(), v.ID, m.ID)
	wants(t, err, provider.ErrRefused, "no free slot")
	w.idle(v.ID)
	w.restart()
	if _, err := w.AttachVolume(t.Context(), v.ID, m.ID); err != nil {
		t.Errorf("asking again after a refusal: %v", err)
	}
	if w.task(v.ID).ID == task.ID {
		t.Error("the refused task was opened again")
	}
}

func TestWhatIsRefusedToBeMadeFails(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	m, err := w.CreateMachine(ctx, provider.CreateMachineRequest{ClientToken: "m", Name: "db1",
		Image: "trixie"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: "v",
		SizeBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{m.ID, v.ID} {
		if _, err := w.RefuseTask(ctx, w.task(id).ID, "no room"); err != nil {
			t.Fatal(err)
		}
	}
	if m, err = w.GetMachine(ctx, m.ID); err != nil || m.State != provider.MachineTerminated ||
		!strings.Contains(m.Reason, "no room") {
		t.Errorf("machine is %+v, %v", m, err)
	}
	if v, err = w.GetVolume(ctx, v.ID); err != nil || v.State != provider.VolumeError ||
		!strings.Contains(v.Reason, "no room") {
		t.Errorf("volume is %+v, %v", v, err)
	}
}

func TestCutIsWithdrawnWhenItIsNotWantedAnyMore(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	v := w.volume("scsi-a")
	s, err := w.CreateSnapshot(ctx, provider.CreateSnapshotRequest{VolumeID: v.ID})
	if err != nil || s.State != provider.SnapshotPending {
		t.Fatalf("%+v, %v", s, err)
	}
	task := w.task(s.ID)
	if err := w.DeleteSnapshot(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	w.idle(s.ID)
	_, err = w.CompleteTask(ctx, task.ID, provider.TaskResult{})
	wants(t, err, provider.ErrIncorrectState, "withdrawn", "delete what there is of it")
	if s, err = w.CreateSnapshot(ctx, provider.CreateSnapshotRequest{VolumeID: v.ID}); err != nil {
		t.Fatal(err)
	}
	w.done(s.ID, provider.TaskResult{Label: "lun 9"})
	if err := w.DeleteSnapshot(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	if do := w.task(s.ID).Do; !strings.Contains(do, "lun 9") {
		t.Errorf("the task does not say what to delete: %s", do)
	}
}

func TestBadWordsChangeNothing(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	taken := w.volume("scsi-taken")
	m, err := w.CreateMachine(ctx, provider.CreateMachineRequest{ClientToken: "m", Name: "db1",
		Image: "trixie"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: "v",
		SizeBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	for id, results := range map[string][]provider.TaskResult{
		m.ID: {{}, {Address: "not-an-address"}, {Address: "127.0.0.1"}, {Address: "fe80::1%eth0"},
			{Address: "192.0.2.5", Device: "scsi-b"},
			{Address: "192.0.2.5", DefaultDevice: "scsi-taken", SizeBytes: 1 << 30},
			{Address: "192.0.2.5", DefaultDevice: "scsi-b"},
			{Address: "192.0.2.5", SizeBytes: 1 << 30}},
		v.ID: {{}, {Device: "/dev/sdb"}, {Device: "../sdb"}, {Device: "scsi-b-part1"},
			{Device: "scsi-taken"}, {Device: "scsi-b", SizeBytes: 1 << 20},
			{Device: "scsi-b", Address: "192.0.2.5"}, {Device: "scsi-b", Label: "a\nb"}},
	} {
		for _, result := range results {
			_, err := w.CompleteTask(ctx, w.task(id).ID, result)
			wants(t, err, provider.ErrInvalid)
		}
	}
	if names := w.DeviceNames(v.ID); names != nil {
		t.Errorf("a device is guessed: %v", names)
	}
	if names := w.DeviceNames(taken.ID); len(names) != 1 || names[0] != "scsi-taken" {
		t.Errorf("devices are %v", names)
	}
	_, err = w.CompleteTask(ctx, "task-000000000000", provider.TaskResult{})
	wants(t, err, provider.ErrNotFound)
}
