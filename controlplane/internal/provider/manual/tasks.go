package manual

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/size"
)

// The kinds of tasks.
const (
	makeMachine    = "make-machine"
	startMachine   = "start-machine"
	stopMachine    = "stop-machine"
	rebootMachine  = "reboot-machine"
	destroyMachine = "destroy-machine"
	makeVolume     = "make-volume"
	attachVolume   = "attach-volume"
	detachVolume   = "detach-volume"
	growVolume     = "grow-volume"
	deleteVolume   = "delete-volume"
	takeSnapshot   = "take-snapshot"
	deleteSnapshot = "delete-snapshot"
)

var kindTexts = map[string]string{
	makeMachine: "make it", startMachine: "switch on", stopMachine: "shut down",
	rebootMachine: "restart", destroyMachine: "go",
	makeVolume: "make it", attachVolume: "attach it", detachVolume: "detach it",
	growVolume: "grow it", deleteVolume: "delete it",
	takeSnapshot: "copy it", deleteSnapshot: "delete it",
}

// openTask opens a task about an object, unless the same was refused since anybody asked: then it
// tells that, once.
func (l *ledger) openTask(r *records, kind, object string, t task) error {
	if why, refused := r.Refusals[kind+" "+object]; refused {
		delete(r.Refusals, kind+" "+object)
		return provider.Errorf(provider.ErrRefused, object,
			"an operator was asked to %s and refused (%s): %s", kindTexts[kind], object, why)
	}
	if other := r.open(object); other != nil {
		return provider.Errorf(provider.ErrIncorrectState, object,
			"%s waits for task %s to %s: do or refuse that first", object, other.ID,
			kindTexts[other.Kind])
	}
	t.ID, t.Kind, t.ObjectID, t.State, t.CreatedAt = newID("task"), kind, object, provider.TaskOpen,
		l.cfg.Now()
	if t.Tags == nil {
		t.Tags = maps.Clone(r.tagsOf(object))
	}
	r.Tasks[t.ID] = &t
	l.cfg.Log.Info("an operator is asked", "task", t.ID, "kind", kind, "object", object)
	return nil
}

func (r *records) tagsOf(object string) map[string]string {
	switch {
	case r.Machines[object] != nil:
		return r.Machines[object].Tags
	case r.Volumes[object] != nil:
		return r.Volumes[object].Tags
	case r.Snapshots[object] != nil:
		return r.Snapshots[object].Tags
	}
	return nil
}

// open is the open task of an object; there is one at most.
func (r *records) open(object string) *task {
	for _, t := range r.Tasks {
		if t.ObjectID == object && t.State == provider.TaskOpen {
			return t
		}
	}
	return nil
}

func (l *ledger) closeTask(t *task, state provider.TaskState, why string) {
	t.State, t.Why, t.ClosedAt = state, why, l.cfg.Now()
	l.cfg.Log.Info("a task is closed", "task", t.ID, "kind", t.Kind, "object", t.ObjectID, "state",
		string(state))
}

func (l *ledger) withdraw(t *task, why string) { l.closeTask(t, provider.TaskWithdrawn, why) }

// Tasks lists the tasks.
func (p *Provider) Tasks(ctx context.Context, closed bool) ([]provider.Task, error) {
	r, err := p.settled(ctx, func(*volume) bool { return true }, observeAgain)
	if err != nil {
		return nil, err
	}
	return list(r.Tasks, func(t *task) bool { return closed || t.State == provider.TaskOpen },
		func(t *task) provider.Task { return p.showTask(r, t) },
		func(t *task) (time.Time, string) { return t.CreatedAt, t.ID }), nil
}

// showTask fills in what the objects say now.
func (p *Provider) showTask(r *records, t *task) provider.Task {
	shown := t.Task
	if m := r.Machines[t.ObjectID]; m != nil {
		shown.MachineID, shown.Image, shown.Label = m.ID, m.Image, m.Label
	}
	if v := r.Volumes[t.ObjectID]; v != nil {
		shown.SnapshotID, shown.Device, shown.SizeBytes, shown.Label = v.SnapshotID, v.Device,
			v.SizeBytes, v.Label
		if s := r.Snapshots[v.SnapshotID]; s != nil && t.Kind == makeVolume {
			shown.Label = s.Label
		}
	}
	if m := r.Machines[shown.MachineID]; m != nil {
		shown.MachineName = m.Name
	}
	shown.Do = t.Why
	if t.State == provider.TaskOpen {
		shown.Do = p.sentence(r, t)
	}
	return shown
}

// sentence is the instruction of a task: what to do, and what to report then.
func (p *Provider) sentence(r *records, t *task) string {
	what, then := t.ID+": ", "; then complete the task"
	switch t.Kind {
	case makeMachine:
		m := r.Machines[t.ObjectID]
		what += fmt.Sprintf("make machine %s from image %s with understudy-agent enabled, and "+
			"put its join file on it as /etc/understudy-agent/join.json, mode 0600",
			m.Name, m.Image)
		then += " with its IP address (and with the device and the size of the data volume, if " +
			"it came with one)"
	case makeVolume:
		v := r.Volumes[t.ObjectID]
		what += fmt.Sprintf(
			"make a volume of %s, %s, with the serial %s if you can choose one",
			size.Exact(v.SizeBytes), r.content(v), v.ID)
		then += " with its device, the name below /dev/disk/by-id"
	case attachVolume:
		v := r.Volumes[t.ObjectID]
		return what + fmt.Sprintf("attach volume %s to machine %s; it goes on by itself once %s "+
			"shows /dev/disk/by-id/%s%s", r.volumeName(v), r.machineName(t.MachineID),
			r.shortName(t.MachineID), v.Device, p.shows(t.MachineID))
	case detachVolume:
		v := r.Volumes[t.ObjectID]
		return what + fmt.Sprintf("detach volume %s from machine %s, where nothing uses it any "+
			"more; it goes on by itself once %s does not show /dev/disk/by-id/%s%s",
			r.volumeName(v), r.machineName(t.MachineID), r.shortName(t.MachineID), v.Device,
			p.shows(t.MachineID))
	case growVolume:
		v := r.Volumes[t.ObjectID]
		what += fmt.Sprintf("grow volume %s from %s to %s", r.volumeName(v),
			size.Exact(t.Former), size.Exact(t.SizeBytes))
	case deleteVolume:
		what += "delete volume " + r.volumeName(r.Volumes[t.ObjectID])
	case takeSnapshot:
		what += fmt.Sprintf("copy volume %s of %s now, while its data holds still",
			named(t.VolumeID, t.Label, t.Device), r.machineName(t.MachineID))
		then += " once the copy is complete"
	case deleteSnapshot:
		what += fmt.Sprintf("delete snapshot %s, the copy of volume %s", named(t.ObjectID, t.Label),
			t.VolumeID)
	case destroyMachine:
		what += "destroy machine " + r.machineName(t.ObjectID) + r.fate(t.ObjectID)
	default:
		what += kindTexts[t.Kind] + " machine " + r.machineName(t.ObjectID)
	}
	return what + then
}

// content is what a new volume is to hold.
func (r *records) content(v *volume) string {
	if v.SnapshotID == "" {
		return "blank"
	}
	label := ""
	if s := r.Snapshots[v.SnapshotID]; s != nil {
		label = s.Label
	}
	return "a writable copy of snapshot " + named(v.SnapshotID, label)
}

// fate is what becomes of a machine's volumes.
func (r *records) fate(machineID string) string {
	var all strings.Builder
	for _, v := range list(r.Volumes, func(v *volume) bool { return v.MachineID == machineID },
		func(v *volume) *volume { return v },
		func(v *volume) (time.Time, string) { return v.CreatedAt, v.ID }) {
		if v.DeleteOnTermination {
			fmt.Fprintf(&all, ", and its volume %s with it", r.volumeName(v))
		} else {
			fmt.Fprintf(&all, "; keep volume %s", r.volumeName(v))
		}
	}
	return all.String()
}

// named is an id with what operators know of it.
func named(id string, known ...string) string {
	var more []string
	for _, k := range known {
		if k != "" {
			more = append(more, k)
		}
	}
	if more == nil {
		return id
	}
	return id + " (" + strings.Join(more, ", ") + ")"
}

func (r *records) volumeName(v *volume) string { return named(v.ID, v.Label, v.Device) }

func (r *records) machineName(id string) string {
	m := r.Machines[id]
	if m == nil {
		return or(id, "no machine")
	}
	return named(m.Name, m.Label, m.ID, m.Address)
}

func (r *records) shortName(id string) string {
	if m := r.Machines[id]; m != nil {
		return m.Name
	}
	return id
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
