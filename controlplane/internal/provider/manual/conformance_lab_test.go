//go:build lab

package manual_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/manual"
	"github.com/understudy-db/understudy/controlplane/internal/provider/providertest"
)

func TestMain(m *testing.M) {
	if handled, err := nspawn.Supervise(os.Args); handled {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// person does the tasks on a lab, as somebody with a hypervisor would.
type person struct {
	lab *nspawn.Provider

	mu    sync.Mutex
	at    map[string]string // what the lab calls a machine or a snapshot
	begun map[string]bool
}

const image = "test-masked"

func newPerson(t *testing.T) *person {
	t.Helper()
	name, short := fmt.Sprintf("t-static-%d", os.Getpid()), 50*time.Millisecond
	lab, err := nspawn.New(nspawn.Config{Name: name,
		Dir: filepath.Join(os.TempDir(), "understudy-"+name), PoolBytes: 8 << 30,
		StopLimit: 20 * time.Second,
		Images: []nspawn.ImageSpec{{Name: image, Suite: "trixie",
			MaskUnits:     []string{"mariadb.service"},
			DefaultVolume: &provider.DefaultVolume{SizeBytes: 64 << 20, Filesystem: "ext4"}}},
		Delays: nspawn.Delays{Snapshot: short, VolumeCreate: short, Attach: short, Delete: short,
			MachineStart: short}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Sweep(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := lab.BuildImage(t.Context(), "trixie", func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	return &person{lab: lab, at: map[string]string{}, begun: map[string]bool{}}
}

func (h *person) find(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at[id]
}

func (h *person) keep(id, at string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at[id] = at
}

// Devices are those of the host itself.
func (h *person) Devices(ctx context.Context, m provider.Machine) ([]string, error) {
	out, err := h.lab.Exec(ctx, h.find(m.ID),
		nspawn.Command{Argv: []string{"ls", "/dev/disk/by-id"}})
	return strings.Fields(out), err
}

// work does what is asked until ctx ends, several tasks at a time.
func (h *person) work(ctx context.Context, t *testing.T, p *manual.Provider) {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		tasks, err := p.Tasks(ctx, false)
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		for _, task := range tasks {
			if h.begun[task.ID] {
				continue
			}
			h.begun[task.ID] = true
			all.Go(func() {
				if err := h.do(ctx, p, task); err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", task.Do, err)
				}
			})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// volumeOf is the lab's volume behind a device.
func volumeOf(device string) string { return strings.TrimPrefix(device, "virtio-") }

func (h *person) do(ctx context.Context, p *manual.Provider, task provider.Task) (err error) {
	var result provider.TaskResult
	machine, volume := h.find(task.MachineID), volumeOf(task.Device)
	switch task.Kind {
	case "make-machine":
		result, err = h.makeMachine(ctx, task)
	case "start-machine":
		err = h.power(ctx, machine, h.lab.StartMachine, provider.MachineRunning)
	case "stop-machine":
		err = h.power(ctx, machine, h.lab.StopMachine, provider.MachineStopped)
	case "reboot-machine":
		err = h.lab.RebootMachine(ctx, machine)
	case "destroy-machine":
		err = h.power(ctx, machine, h.lab.TerminateMachine, provider.MachineTerminated)
	case "make-volume":
		var v provider.Volume
		v, err = h.lab.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: task.ID,
			SizeBytes: task.SizeBytes, SnapshotID: h.find(task.SnapshotID)})
		err = until(ctx, err, func() (bool, error) {
			v, err = h.lab.GetVolume(ctx, v.ID)
			return v.State == provider.VolumeAvailable, err
		})
		result.Device = "virtio-" + v.ID
	case "attach-volume":
		// a machine that is starting takes no volume yet; the host shows it then
		return until(ctx, nil, func() (bool, error) {
			_, err := h.lab.AttachVolume(ctx, volume, machine)
			return err == nil, ignoreNotYet(err)
		})
	case "detach-volume":
		var v provider.Volume
		_, err = h.lab.DetachVolume(ctx, volume, machine)
		return until(ctx, err, func() (bool, error) { // nothing uses it any more
			v, err = h.lab.GetVolume(ctx, volume)
			return v.MachineID != machine, err
		})
	case "grow-volume":
		_, err = h.lab.GrowVolume(ctx, volume, task.SizeBytes)
	case "delete-volume":
		// it is gone from the host a moment before it is free
		err = until(ctx, nil, func() (bool, error) {
			err := h.lab.DeleteVolume(ctx, volume)
			return provider.HeldBy(err) == "", ignoreHeld(err)
		})
	case "take-snapshot":
		var s provider.Snapshot
		s, err = h.lab.CreateSnapshot(ctx, provider.CreateSnapshotRequest{VolumeID: volume})
		h.keep(task.ObjectID, s.ID)
		err = until(ctx, err, func() (bool, error) {
			s, err = h.lab.GetSnapshot(ctx, s.ID)
			return s.State == provider.SnapshotCompleted, err
		})
	case "delete-snapshot":
		err = h.lab.DeleteSnapshot(ctx, h.find(task.ObjectID))
	default:
		err = fmt.Errorf("nobody told me how")
	}
	if err == nil {
		_, err = p.CompleteTask(ctx, task.ID, result)
	}
	return err
}

func (h *person) makeMachine(ctx context.Context,
	task provider.Task) (result provider.TaskResult, err error) {
	m, err := h.lab.CreateMachine(ctx, provider.CreateMachineRequest{ClientToken: task.ID,
		Name: task.MachineName, Image: task.Image})
	err = until(ctx, err, func() (bool, error) {
		m, err = h.lab.GetMachine(ctx, m.ID)
		return m.State == provider.MachineRunning, err
	})
	if err != nil {
		return result, err
	}
	h.keep(task.ObjectID, m.ID)
	volumes, err := h.lab.ListVolumes(ctx, provider.Filter{MachineID: m.ID})
	if err != nil {
		return result, err
	}
	result = provider.TaskResult{Address: m.Address}
	for _, v := range volumes {
		result.DefaultDevice, result.SizeBytes = "virtio-"+v.ID, v.SizeBytes
	}
	return result, nil
}

// power changes a machine's power and waits for the effect.
func (h *person) power(ctx context.Context, id string, change func(context.Context, string) error,
	want provider.MachineState) error {
	return until(ctx, change(ctx, id), func() (bool, error) {
		m, err := h.lab.GetMachine(ctx, id)
		return m.State == want, err
	})
}

// until looks until it is so, unless there was an error before.
func until(ctx context.Context, err error, look func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for done := false; err == nil; {
		if done, err = look(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return err
}

func ignoreHeld(err error) error {
	if provider.HeldBy(err) != "" {
		return nil
	}
	return err
}

func ignoreNotYet(err error) error {
	if errors.Is(err, provider.ErrIncorrectState) {
		return nil
	}
	return err
}

func TestConformance(t *testing.T) {
	t.Parallel()
	providertest.Run(t, func(t *testing.T) providertest.Subject {
		h := newPerson(t)
		p, err := manual.New(manual.Config{Dir: t.TempDir(),
			Images: []provider.Image{{Name: image, MariaDBVersion: "11.8", Ready: true}}, Hosts: h})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); h.work(ctx, t, p) }()
		t.Cleanup(func() { stop(); <-ended })
		return providertest.Subject{Provider: p, Image: image,
			Run: func(ctx context.Context, machineID string, argv ...string) (string, error) {
				return h.lab.Exec(ctx, h.find(machineID), nspawn.Command{Argv: argv})
			}}
	})
}
