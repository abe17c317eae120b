//go:build lab

package nspawn_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const crashWord = "crash-child"

// crashChild is the process that gets killed: it makes one call on a lab, and says when it
// begins.
func crashChild(args []string) (handled bool, err error) {
	if len(args) < 6 || args[1] != crashWord {
		return false, nil
	}
	p, err := nspawn.New(configOf(args[3], args[4]))
	if err != nil {
		return true, err
	}
	ctx, id, other := context.Background(), args[5], args[6]
	fmt.Println("now")
	switch args[2] {
	case "CreateVolume":
		_, err = p.CreateVolume(ctx, volumeRequest(id))
	case "CreateSnapshot":
		_, err = p.CreateSnapshot(ctx, provider.CreateSnapshotRequest{VolumeID: id,
			Tags: map[string]string{"try": other}})
	case "CreateMachine":
		_, err = p.CreateMachine(ctx, machineRequest(id))
	case "AttachVolume":
		_, err = p.AttachVolume(ctx, id, other)
	case "DetachVolume":
		_, err = p.DetachVolume(ctx, id, other)
	case "TerminateMachine":
		err = p.TerminateMachine(ctx, id)
	case "Sweep":
		err = p.Sweep(ctx)
	}
	return true, err
}

func volumeRequest(token string) provider.CreateVolumeRequest {
	return provider.CreateVolumeRequest{ClientToken: token, SizeBytes: 16 << 20,
		Tags: map[string]string{"try": token}}
}

func machineRequest(token string) provider.CreateMachineRequest {
	return provider.CreateMachineRequest{ClientToken: token, Name: "host", Image: "test-masked",
		Tags: map[string]string{"try": token}}
}

// killedDuring runs the call in a process that is killed that long after it began. It says
// whether the call had ended before.
func killedDuring(t *testing.T, cfg nspawn.Config, after time.Duration, method, id,
	other string) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], crashWord, method, cfg.Name, cfg.Dir, id, other)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	bufio.NewScanner(out).Scan()
	kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	return cmd.Wait() == nil
}

// everyMoment kills the call later and later, until it ends before: by steps, which grow with the
// time that passed, or a slow disk would never see an end.
func everyMoment(t *testing.T, step time.Duration,
	try func(i int, after time.Duration) (ended bool)) {
	t.Helper()
	after := time.Duration(0)
	for i := 0; ; i++ {
		if try(i, after) {
			t.Logf("%d kills", i)
			return
		}
		if i > 200 {
			t.Fatalf("the call never ends, not in %s", after)
		}
		after += max(step, after/30)
	}
}

func TestKilledCreateVolume(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "kill-create")
	p := labOf(t, cfg)
	everyMoment(t, 500*time.Microsecond, func(i int, after time.Duration) bool {
		token := fmt.Sprintf("try-%d", i)
		ended := killedDuring(t, cfg, after, "CreateVolume", token, "")
		v, err := p.CreateVolume(t.Context(), volumeRequest(token))
		if err != nil {
			t.Fatal(err)
		}
		until(t, "available", func() (bool, string) {
			list, err := p.ListVolumes(t.Context(),
				provider.Filter{Tags: map[string]string{"try": token}})
			if err != nil || len(list) != 1 || list[0].ID != v.ID {
				t.Fatalf("volumes of one token: %+v, error %v", list, err)
			}
			return list[0].State == provider.VolumeAvailable, fmt.Sprint(list[0])
		})
		return ended
	})
}

func TestKilledBringUp(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "kill-up")
	everyMoment(t, 15*time.Millisecond, func(i int, after time.Duration) bool {
		p := labOf(t, cfg)
		ended := killedDuring(t, cfg, after, "CreateVolume", "first", "")
		if i%2 == 0 {
			availableVolume(t, p, "first")
		}
		if err := p.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantNoTrace(t, cfg)
		return ended
	})
}

func TestTheNextProcessRemovesWhatAKilledOneWasWriting(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "kill-write")
	availableVolume(t, labOf(t, cfg), "first")
	for _, name := range []string{".lab.json.1.tmp",
		"records/volume/.vol-ffffffffffff.json.1.tmp"} {
		if err := os.WriteFile(filepath.Join(cfg.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		availableVolume(t, labOf(t, cfg), "first")
		if _, err := os.Stat(filepath.Join(cfg.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there still: %v", name, err)
		}
	}
}

func TestKilledCreateSnapshot(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "kill-snap")
	p := labOf(t, cfg)
	v := availableVolume(t, p, "source")
	everyMoment(t, 500*time.Microsecond, func(i int, after time.Duration) bool {
		tag := fmt.Sprint(i)
		ended := killedDuring(t, cfg, after, "CreateSnapshot", v.ID, tag)
		list, err := p.ListSnapshots(t.Context(),
			provider.Filter{Tags: map[string]string{"try": tag}})
		if err != nil || len(list) > 1 {
			t.Fatalf("snapshots of one try: %+v, error %v", list, err)
		}
		for _, s := range list {
			until(t, "settled", func() (bool, string) {
				s, err = p.GetSnapshot(t.Context(), s.ID)
				return err == nil && s.State != provider.SnapshotPending, fmt.Sprint(s, err)
			})
			if ended && s.State != provider.SnapshotCompleted {
				t.Errorf("answered snapshot is %+v", s)
			}
			if err := p.DeleteSnapshot(t.Context(), s.ID); err != nil {
				t.Fatal(err)
			}
		}
		return ended
	})
}

func TestKilledCreateMachine(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "kill-machine")
	p := labOf(t, cfg)
	everyMoment(t, 3*time.Millisecond, func(i int, after time.Duration) bool {
		token := fmt.Sprintf("try-%d", i)
		ended := killedDuring(t, cfg, after, "CreateMachine", token, "")
		m, err := p.CreateMachine(t.Context(), machineRequest(token))
		if err != nil {
			t.Fatal(err)
		}
		untilState(t, p, m.ID, provider.MachineRunning)
		list, err := p.ListMachines(t.Context(),
			provider.Filter{Tags: map[string]string{"try": token}})
		if err != nil || len(list) != 1 {
			t.Fatalf("machines of one token: %+v, error %v", list, err)
		}
		volumes, err := p.ListVolumes(t.Context(), provider.Filter{})
		if err != nil || len(volumes) != 1 || volumes[0].MachineID != m.ID {
			t.Fatalf("volumes: %+v, error %v", volumes, err)
		}
		killedDuring(t, cfg, after, "TerminateMachine", m.ID, "")
		if err := p.TerminateMachine(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
		until(t, "without volumes", func() (bool, string) {
			volumes, err := p.ListVolumes(t.Context(), provider.Filter{})
			return err == nil && len(volumes) == 0, fmt.Sprint(volumes, err)
		})
		return ended
	})
}

func TestKilledAttachAndDetach(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "kill-attach")
	p := labOf(t, cfg)
	m := createMachine(t, p, "host", "test-masked")
	untilState(t, p, m.ID, provider.MachineRunning)
	v := availableVolume(t, p, "data")
	everyMoment(t, 500*time.Microsecond, func(_ int, after time.Duration) bool {
		attached := killedDuring(t, cfg, after, "AttachVolume", v.ID, m.ID)
		now, err := p.GetVolume(t.Context(), v.ID)
		if err == nil && now.MachineID == "" {
			_, err = p.AttachVolume(t.Context(), v.ID, m.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		answers(t, p, m.ID, "test", "-b", "/dev/disk/by-id/"+p.DeviceNames(v.ID)[0])
		detached := killedDuring(t, cfg, after, "DetachVolume", v.ID, m.ID)
		if now, err = p.GetVolume(t.Context(), v.ID); err == nil && now.MachineID != "" {
			_, err = p.DetachVolume(t.Context(), v.ID, m.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		untilAvailable(t, p, v.ID)
		if out, err := p.Exec(t.Context(), m.ID,
			nspawn.Command{Argv: []string{"test", "-e",
				"/dev/disk/by-id/" + p.DeviceNames(v.ID)[0]}}); err == nil {
			t.Error("the device stayed", out)
		}
		return attached && detached
	})
}

func TestKilledSweep(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "kill-sweep")
	everyMoment(t, 40*time.Millisecond, func(_ int, after time.Duration) bool {
		p := labOf(t, cfg)
		m := createMachine(t, p, "host", "test-masked")
		untilState(t, p, m.ID, provider.MachineRunning)
		ended := killedDuring(t, cfg, after, "Sweep", "", "")
		if err := p.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantNoTrace(t, cfg)
		return ended
	})
}

func availableVolume(t *testing.T, p *nspawn.Provider, token string) provider.Volume {
	t.Helper()
	v, err := p.CreateVolume(t.Context(), volumeRequest(token))
	if err != nil {
		t.Fatal(err)
	}
	untilAvailable(t, p, v.ID)
	return v
}

func untilAvailable(t *testing.T, p *nspawn.Provider, id string) {
	t.Helper()
	until(t, "available", func() (bool, string) {
		v, err := p.GetVolume(t.Context(), id)
		return err == nil && v.State == provider.VolumeAvailable, fmt.Sprint(v, err)
	})
}
