package workflowtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Cloud is a provider in memory, shaped after EC2: requests answer before their effect is complete.
type Cloud struct {
	w         *World
	Machines  map[string]*provider.Machine
	Volumes   map[string]*provider.Volume
	Snapshots map[string]*provider.Snapshot
	Disks     map[string]*Disk // of volumes and snapshots
	tokens    map[string]string
	Settling  map[string]int // looks until a state settles
	Hangs     int            // attachments that do not come about
	Behind    time.Duration  // its clock, as far as attachments are dated
	SlowCut   int            // looks that a snapshot takes beyond the usual
	Late      time.Duration  // that a snapshot does not show in lists of others than who made it
	Blind     bool           // and lists that need not be complete do not wait for one
	cutBy     map[string]*Process
	Pace      time.Duration // between two requests for snapshots of a volume; 0: none
	Refused   int           // requests that came too soon
	asked     map[string]time.Time
	n         int
	Regional  bool // snapshots serve every zone
	Still     bool // machines do not come up, snapshots are not completed
	Instant   bool // what is asked for is done at once
	Images    []provider.Image
	Problems  []string // that keep jobs from working
	growing   map[string]int64
	NoGrowth  string          // why no volume grows
	stops     map[string]bool // machines that go off, and stay
	Deaf      bool            // machines do not restart when they are asked to
}

func newCloud(w *World) *Cloud {
	return &Cloud{w: w, Machines: map[string]*provider.Machine{},
		Volumes: map[string]*provider.Volume{}, Snapshots: map[string]*provider.Snapshot{},
		Disks: map[string]*Disk{}, tokens: map[string]string{}, Settling: map[string]int{},
		cutBy: map[string]*Process{}, asked: map[string]time.Time{},
		growing: map[string]int64{}, stops: map[string]bool{}, Images: []provider.Image{
			{Name: "trixie", Description: "Debian trixie", MariaDBVersion: "11.8.6", Ready: true,
				DefaultVolume: &provider.DefaultVolume{SizeBytes: 1 << 30, Filesystem: "ext4"}},
			{Name: "bookworm", Description: "Debian bookworm", MariaDBVersion: "10.11.14",
				Ready: true},
		}}
}

func (c *Cloud) id(kind string) string { c.n++; return fmt.Sprintf("%s-%d", kind, c.n) }

// settles reports whether something has been looked at often enough to have settled.
func (c *Cloud) settles(id string) bool {
	c.Settling[id]--
	return c.Settling[id] < 0 || c.Instant
}

func (c *Cloud) addVolume(v provider.Volume, d *Disk) *provider.Volume {
	v.ID, v.CreatedAt, v.Zone = c.id("vol"), c.w.now(), "z1"
	c.Volumes[v.ID], c.Disks[v.ID] = &v, d
	return &v
}

// cloudView is one process's way to the cloud.
type cloudView struct {
	c *Cloud
	p *Process
}

func (v cloudView) SnapshotsInEveryZone() bool {
	v.c.w.Mu.Lock()
	defer v.c.w.Mu.Unlock()
	return v.c.Regional
}

// call does something at the cloud as one process: it fails when the process is dead, or when a
// test has asked for it.
func (v cloudView) call(ctx context.Context, name string, effect bool, fn func() error) error {
	defer v.p.behind(name)
	v.c.w.Mu.Lock()
	defer v.c.w.Mu.Unlock()
	if err := v.p.before(ctx, name); err != nil {
		return err
	}
	err := fn()
	if effect && err == nil {
		v.c.w.effect("cloud", name)
	}
	return errors.Join(err, v.p.after(name))
}

// ShowsWithin implements provider.Late.
func (v cloudView) ShowsWithin() time.Duration {
	v.c.w.Mu.Lock()
	defer v.c.w.Mu.Unlock()
	return v.c.Late
}

func (v cloudView) Name() string                   { return "sim" }
func (v cloudView) DeviceNames(id string) []string { return []string{"virtio-" + id} }

func (v cloudView) Images(context.Context) ([]provider.Image, error) {
	v.c.w.Mu.Lock()
	defer v.c.w.Mu.Unlock()
	return slices.Clone(v.c.Images), nil
}

func (v cloudView) SetTags(ctx context.Context, id string, tags map[string]string) error {
	return v.call(ctx, "SetTags", true, func() error {
		var had *map[string]string
		if vol, ok := v.c.Volumes[id]; ok {
			had = &vol.Tags
		} else if m, ok := v.c.Machines[id]; ok {
			had = &m.Tags
		} else {
			return provider.Errorf(provider.ErrNotFound, id, "nothing has the id %s", id)
		}
		if *had == nil {
			*had = map[string]string{}
		}
		maps.Copy(*had, tags)
		return nil
	})
}

func (v cloudView) CreateMachine(ctx context.Context,
	req provider.CreateMachineRequest) (m provider.Machine, err error) {
	err = v.call(ctx, "CreateMachine", true, func() error {
		if err := req.Validate(); err != nil {
			return err
		}
		if id, ok := v.c.tokens[req.ClientToken]; ok {
			m = *v.c.Machines[id]
			return nil
		}
		m = provider.Machine{ID: v.c.id("i"), Name: req.Name, State: provider.MachinePending,
			Image: req.Image, Zone: "z1", Tags: req.Tags, CreatedAt: v.c.w.now()}
		m.Address = "10.0.0." + m.ID[2:]
		v.c.Machines[m.ID], v.c.tokens[req.ClientToken], v.c.Settling[m.ID] = &m, m.ID, 1
		v.c.w.boot(&m)
		if v.c.Instant {
			_, err := v.machine(m.ID)
			return err
		}
		return nil
	})
	return m, err
}

func (v cloudView) machine(id string) (*provider.Machine, error) {
	m, ok := v.c.Machines[id]
	if !ok {
		return nil, provider.Errorf(provider.ErrNotFound, id, "no machine %s", id)
	}
	if m.State == provider.MachinePending && !v.c.Still && v.c.settles(id) {
		m.State = provider.MachineRunning
	}
	if m.State == provider.MachineStopping && v.c.settles(id) {
		if v.c.stops[id] {
			m.State = provider.MachineStopped
			if h := v.hostOf(id); h != nil {
				h.down()
			}
			return m, nil
		}
		m.State = provider.MachineTerminated
		v.c.w.PowerOff(m.ID)
	}
	return m, nil
}

func (v cloudView) GetMachine(ctx context.Context, id string) (m provider.Machine, err error) {
	err = v.call(ctx, "GetMachine", false, func() error {
		found, err := v.machine(id)
		if err == nil {
			m = *found
		}
		return err
	})
	return m, err
}

func (v cloudView) ListMachines(ctx context.Context,
	f provider.Filter) (list []provider.Machine, err error) {
	err = v.call(ctx, "ListMachines", false, func() error {
		for _, id := range slices.Sorted(maps.Keys(v.c.Machines)) {
			if m, _ := v.machine(id); f.Matches(m.Tags) {
				list = append(list, *m)
			}
		}
		return nil
	})
	return list, err
}

func (v cloudView) StartMachine(ctx context.Context, id string) error {
	return v.call(ctx, "StartMachine", true, func() error {
		m, err := v.machine(id)
		if err == nil && m.State == provider.MachineStopped {
			m.State = provider.MachineRunning
			if h := v.hostOf(id); h != nil && h.off {
				m.State, v.c.Settling[id] = provider.MachinePending, 1
				h.restarting = downLooks - 1
			}
		}
		return err
	})
}

func (v cloudView) TerminateMachine(ctx context.Context, id string) error {
	return v.call(ctx, "TerminateMachine", true, func() error {
		m, err := v.machine(id)
		if err == nil && m.State != provider.MachineTerminated {
			m.State = provider.MachineStopping
			v.c.Settling[id], v.c.stops[id] = 1, false
		}
		return err
	})
}

func (v cloudView) CreateVolume(ctx context.Context,
	req provider.CreateVolumeRequest) (vol provider.Volume, err error) {
	err = v.call(ctx, "CreateVolume", true, func() error {
		if err := req.Validate(); err != nil {
			return err
		}
		if id, ok := v.c.tokens[req.ClientToken]; ok {
			made, err := v.volume(id)
			if err != nil {
				return provider.Because(err, provider.ErrEnded, "", "volume %s is deleted", id)
			}
			vol = *made
			return nil
		}
		content, size := &Disk{}, req.SizeBytes
		if req.SnapshotID != "" {
			snap, ok := v.c.Snapshots[req.SnapshotID]
			if !ok {
				return provider.Errorf(provider.ErrNotFound, req.SnapshotID, "no snapshot %s",
					req.SnapshotID)
			}
			if snap.State != provider.SnapshotCompleted {
				return provider.Errorf(provider.ErrIncorrectState, snap.ID, "snapshot %s is %s",
					snap.ID, snap.State)
			}
			content, size = v.c.Disks[snap.ID].clone(), max(size, snap.SizeBytes)
		}
		made := v.c.addVolume(provider.Volume{State: provider.VolumeCreating, SizeBytes: size,
			SnapshotID: req.SnapshotID, Tags: req.Tags}, content)
		v.c.tokens[req.ClientToken], v.c.Settling[made.ID] = made.ID, 1
		vol = *v.settled(made)
		return nil
	})
	return vol, err
}

func (v cloudView) volume(id string) (*provider.Volume, error) {
	vol, ok := v.c.Volumes[id]
	if !ok {
		return nil, provider.Errorf(provider.ErrNotFound, id, "no volume %s", id)
	}
	if size, growing := v.c.growing[id]; growing && v.c.settles(id) {
		vol.SizeBytes = size
		delete(v.c.growing, id)
	}
	switch {
	case vol.State == provider.VolumeCreating && v.c.settles(id):
		vol.State = provider.VolumeAvailable
	case vol.Attachment == provider.AttachmentAttaching && v.c.settles(id):
		vol.Attachment = provider.AttachmentAttached
	case vol.Attachment == provider.AttachmentDetaching && !v.c.w.mounted(vol.MachineID, id) &&
		v.c.settles(id):
		vol.Attachment, vol.MachineID, vol.State = provider.AttachmentNone, "",
			provider.VolumeAvailable
	}
	return vol, nil
}

// settled is a volume after what was asked for, as far as that is done at once.
func (v cloudView) settled(vol *provider.Volume) *provider.Volume {
	if v.c.Instant {
		_, _ = v.volume(vol.ID)
	}
	return vol
}

func (v cloudView) GetVolume(ctx context.Context, id string) (vol provider.Volume, err error) {
	err = v.call(ctx, "GetVolume", false, func() error {
		found, err := v.volume(id)
		if err == nil {
			vol = *found
		}
		return err
	})
	return vol, err
}

func (v cloudView) ListVolumes(ctx context.Context,
	f provider.Filter) (list []provider.Volume, err error) {
	err = v.call(ctx, "ListVolumes", false, func() error {
		for _, id := range slices.Sorted(maps.Keys(v.c.Volumes)) {
			vol, _ := v.volume(id)
			if f.Matches(vol.Tags) && (f.MachineID == "" || f.MachineID == vol.MachineID) {
				copied := *vol
				copied.Tags = maps.Clone(vol.Tags)
				list = append(list, copied)
			}
		}
		return nil
	})
	return list, err
}

func (v cloudView) AttachVolume(ctx context.Context, id,
	machine string) (vol provider.Volume, err error) {
	err = v.call(ctx, "AttachVolume", true, func() error {
		found, err := v.volume(id)
		if err != nil {
			return err
		}
		if found.MachineID != "" {
			return provider.InUse(id, found.MachineID, "volume is in use")
		}
		if m, err := v.machine(machine); err != nil || m.State == provider.MachineTerminated {
			return provider.Errorf(provider.ErrIncorrectState, machine, "machine %s is not there",
				machine)
		}
		found.MachineID, found.State, found.Attachment = machine, provider.VolumeInUse,
			provider.AttachmentAttaching
		v.c.Settling[id], found.AttachedAt = 1, v.c.w.now().Add(-v.c.Behind)
		if v.c.Hangs > 0 {
			v.c.Hangs--
			v.c.Settling[id] = math.MaxInt
		}
		vol = *v.settled(found)
		return nil
	})
	return vol, err
}

func (v cloudView) DetachVolume(ctx context.Context, id,
	machine string) (vol provider.Volume, err error) {
	err = v.call(ctx, "DetachVolume", true, func() error {
		found, err := v.volume(id)
		if err != nil {
			return err
		}
		if found.MachineID != machine {
			return provider.Errorf(provider.ErrIncorrectState, id,
				"volume %s is not attached to %s", id, machine)
		}
		found.Attachment = provider.AttachmentDetaching
		v.c.Settling[id] = 1
		vol = *v.settled(found)
		return nil
	})
	return vol, err
}

func (v cloudView) DeleteVolume(ctx context.Context, id string) error {
	return v.call(ctx, "DeleteVolume", true, func() error {
		found, err := v.volume(id)
		if err != nil {
			return err
		}
		if found.MachineID != "" {
			return provider.InUse(id, found.MachineID, "volume is in use")
		}
		delete(v.c.Volumes, id)
		delete(v.c.Disks, id)
		return nil
	})
}
