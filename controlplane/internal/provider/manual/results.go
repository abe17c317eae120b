package manual

import (
	"context"
	"net/netip"
	"strings"
	"unicode"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/size"
)

const maxText = 200

// CompleteTask takes the result of a task from an operator where the host cannot show it.
func (p *Provider) CompleteTask(ctx context.Context, id string,
	result provider.TaskResult) (shown provider.Task, err error) {
	if err := checkText("label", result.Label); err != nil {
		return shown, err
	}
	// The hosts are asked first, so that what they can show needs no result.
	if _, err := p.settled(ctx, func(*volume) bool { return true }, 0); err != nil {
		return shown, err
	}
	err = p.change(ctx, func(r *records) error {
		t, err := find(r.Tasks, "task", id)
		if err != nil {
			return err
		}
		switch {
		case t.State == provider.TaskOpen:
			if err := p.apply(r, t, result); err != nil {
				return err
			}
			p.closeTask(t, provider.TaskDone, "")
		case t.State == provider.TaskDone && result != (provider.TaskResult{}):
			if err := r.correct(t, result); err != nil {
				return err
			}
		}
		if t.State != provider.TaskDone {
			return provider.Errorf(provider.ErrIncorrectState, id, "task %s was %s: %s", id,
				t.State, t.Why)
		}
		shown = p.showTask(r, t)
		return nil
	})
	return shown, err
}

// apply changes the records by a result.
func (p *Provider) apply(r *records, t *task, result provider.TaskResult) error {
	if err := t.checkResult(result); err != nil {
		return err
	}
	m, v := r.Machines[t.ObjectID], r.Volumes[t.ObjectID]
	switch t.Kind {
	case makeMachine:
		return p.machineMade(r, m, result)
	case startMachine, rebootMachine:
		m.State, m.StartedAt = provider.MachineRunning, p.cfg.Now()
	case stopMachine:
		m.State = provider.MachineStopped
	case destroyMachine:
		p.ended(r, m)
	case makeVolume:
		return r.volumeMade(v, result)
	case attachVolume, detachVolume:
		return p.contradict(r, t, v)
	case deleteVolume:
		delete(r.Volumes, v.ID)
	case takeSnapshot:
		s := r.Snapshots[t.ObjectID]
		s.State, s.Progress, s.Label = provider.SnapshotCompleted, 100, result.Label
	}
	return nil
}

// correct takes another result of a task that is done, as long as nothing shows that the first one
// was right: somebody mistyped an address, or a name.
func (r *records) correct(t *task, result provider.TaskResult) error {
	if err := t.checkResult(result); err != nil {
		return err
	}
	if m := r.Machines[t.ObjectID]; t.Kind == makeMachine && m != nil {
		address, err := r.checkAddress(m, result.Address)
		if err != nil || address == m.Address {
			return err
		}
		for _, v := range r.Volumes {
			if v.MachineID == m.ID && v.Attachment == provider.AttachmentAttached && !v.Default {
				return provider.Errorf(provider.ErrIncorrectState, t.ID,
					"machine %s is at %s: it has volume %s there", m.Name, m.Address, v.ID)
			}
		}
		m.Address = address
	}
	if v := r.Volumes[t.ObjectID]; t.Kind == makeVolume && v != nil && result.Device != v.Device {
		if v.Attachment == provider.AttachmentAttached {
			return provider.Errorf(provider.ErrIncorrectState, t.ID,
				"volume %s is device %s: its machine shows it", v.ID, v.Device)
		}
		if err := r.checkDevice(result.Device); err != nil {
			return err
		}
		v.Device = result.Device
	}
	return nil
}

// checkResult refuses what the task has no use for, and what it lacks.
func (t *task) checkResult(result provider.TaskResult) error {
	machine, volume := t.Kind == makeMachine, t.Kind == makeVolume
	wants := func(given, wanted bool, flag string) error {
		if given && !wanted {
			return provider.Errorf(provider.ErrInvalid, t.ID,
				"%s has no meaning for task %s to %s: leave it out", flag, t.ID,
				strings.ReplaceAll(t.Kind, "-", " "))
		}
		return nil
	}
	for _, err := range []error{
		wants(result.Address != "", machine, "the address"),
		wants(result.DefaultDevice != "", machine, "the default device"),
		wants(result.Device != "", volume, "the device"),
		wants(result.SizeBytes != 0, volume || machine && result.DefaultDevice != "", "the size"),
		wants(result.Label != "", machine || volume || t.Kind == takeSnapshot, "the label"),
	} {
		if err != nil {
			return err
		}
	}
	switch {
	case machine && result.Address == "":
		return provider.Errorf(provider.ErrInvalid, t.ID,
			"the address of the machine is missing")
	case volume && result.Device == "":
		return provider.Errorf(provider.ErrInvalid, t.ID, "the device of the volume is missing: "+
			"its name below /dev/disk/by-id, which its serial gives it")
	}
	return nil
}

// checkAddress is the address in its own spelling, unless it is no machine's, or another's.
func (r *records) checkAddress(m *machine, text string) (string, error) {
	address, err := netip.ParseAddr(text)
	if err != nil || !address.IsValid() || address.IsUnspecified() || address.IsMulticast() ||
		address.IsLoopback() || address.Zone() != "" {
		return "", provider.Errorf(provider.ErrInvalid, m.ID,
			"address %.50q is not the IP address of a machine", text)
	}
	for _, other := range r.Machines {
		if other.ID != m.ID && other.State != provider.MachineTerminated &&
			other.Address == address.String() {
			return "", provider.Errorf(provider.ErrInvalid, m.ID,
				"address %s is that of machine %s", address, other.Name)
		}
	}
	return address.String(), nil
}

func (p *Provider) machineMade(r *records, m *machine, result provider.TaskResult) error {
	address, err := r.checkAddress(m, result.Address)
	if err != nil {
		return err
	}
	if result.DefaultDevice != "" {
		if err := r.checkDevice(result.DefaultDevice); err != nil {
			return err
		}
		if err := provider.ValidateSize(result.SizeBytes); err != nil {
			return provider.Errorf(provider.ErrInvalid, m.ID,
				"size of the machine's data volume: %w", err)
		}
		v := &volume{Device: result.DefaultDevice, Volume: provider.Volume{
			ID: newID("vol"), State: provider.VolumeInUse, SizeBytes: result.SizeBytes,
			Zone:      m.Zone,
			MachineID: m.ID, Attachment: provider.AttachmentAttached,
			Default: true, DeleteOnTermination: true, CreatedAt: p.cfg.Now(),
		}}
		r.Volumes[v.ID] = v
	}
	m.State, m.Address, m.Label, m.StartedAt = provider.MachineRunning, address, result.Label,
		p.cfg.Now()
	return nil
}

func (r *records) volumeMade(v *volume, result provider.TaskResult) error {
	if err := r.checkDevice(result.Device); err != nil {
		return err
	}
	if result.SizeBytes != 0 {
		if err := provider.ValidateSize(result.SizeBytes); err != nil {
			return err
		}
		if result.SizeBytes < v.SizeBytes {
			return provider.Errorf(provider.ErrInvalid, v.ID,
				"volume %s has %s, %s were asked for: make it larger", v.ID,
				size.Exact(result.SizeBytes), size.Exact(v.SizeBytes))
		}
		v.SizeBytes = result.SizeBytes
	}
	v.State, v.Device, v.Label = provider.VolumeAvailable, result.Device, result.Label
	return nil
}

// checkDevice refuses a name that proves nothing: one of another volume, of a partition, of no
// device at all.
func (r *records) checkDevice(name string) error {
	if !deviceName.MatchString(name) || strings.Contains(name, "..") ||
		partition.MatchString(name) {
		return provider.Errorf(provider.ErrInvalid, "", "device %.70q is not the name of a whole "+
			"disk below /dev/disk/by-id: give the name alone, without the folder", name)
	}
	for _, v := range r.Volumes {
		if v.Device == name {
			return provider.Errorf(provider.ErrInvalid, v.ID,
				"device %s is that of volume %s: two volumes never share one", name, v.ID)
		}
	}
	return nil
}

// RefuseTask records that an operator will not do a task.
func (p *Provider) RefuseTask(ctx context.Context, id,
	why string) (shown provider.Task, err error) {
	if err := checkText("reason", why); err != nil {
		return shown, err
	}
	if strings.TrimSpace(why) == "" {
		return shown, provider.Errorf(provider.ErrInvalid, id,
			"the reason is missing: the job that asked ends with it")
	}
	err = p.change(ctx, func(r *records) error {
		t, err := find(r.Tasks, "task", id)
		if err != nil {
			return err
		}
		if t.State == provider.TaskOpen {
			p.refuse(r, t, why)
		}
		if t.State != provider.TaskRefused {
			return provider.Errorf(provider.ErrIncorrectState, id, "task %s is %s already", id,
				t.State)
		}
		shown = p.showTask(r, t)
		return nil
	})
	return shown, err
}

// refuse puts the object back as it was, and keeps the reason for whoever asks next. What was to be
// made will not be.
func (l *ledger) refuse(r *records, t *task, why string) {
	m, v := r.Machines[t.ObjectID], r.Volumes[t.ObjectID]
	l.closeTask(t, provider.TaskRefused, why)
	switch t.Kind {
	case makeMachine:
		l.ended(r, m)
		m.Reason = "an operator refused to make it: " + why
		return
	case makeVolume:
		v.State, v.Reason = provider.VolumeError, "an operator refused to make it: "+why
		return
	case takeSnapshot:
		s := r.Snapshots[t.ObjectID]
		s.State, s.Reason = provider.SnapshotError, "an operator refused to copy the volume: "+why
		return
	case deleteSnapshot:
		return // nobody waits for it
	case startMachine:
		m.State = provider.MachineStopped
	case stopMachine, destroyMachine:
		m.State = provider.MachineRunning
	case attachVolume:
		v.free()
	case detachVolume:
		v.Attachment = provider.AttachmentAttached
	case growVolume:
		v.SizeBytes = t.Former
	case deleteVolume:
		v.State = provider.VolumeAvailable
	}
	r.Refusals[t.Kind+" "+t.ObjectID] = why
}

func checkText(what, text string) error {
	if len(text) > maxText ||
		strings.IndexFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) >= 0 {
		return provider.Errorf(provider.ErrInvalid, "",
			"the %s is not one line of at most %d bytes", what, maxText)
	}
	return nil
}
