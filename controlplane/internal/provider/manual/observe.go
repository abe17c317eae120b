package manual

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// keepSeen is how long it is remembered what a host showed.
const keepSeen = 24 * time.Hour

// settled are the records, once the hosts of those volumes were asked that are being attached or
// detached. Hosts are asked with no lock held; what they show counts only for the task that was
// open before they were asked.
func (p *Provider) settled(ctx context.Context, of func(*volume) bool,
	maxAge time.Duration) (*records, error) {
	r, err := p.read()
	if err != nil {
		return nil, err
	}
	finished := map[string]bool{}
	for _, t := range r.Tasks {
		v := r.Volumes[t.ObjectID]
		if t.State != provider.TaskOpen || v == nil || !of(v) || t.Kind != attachVolume &&
			t.Kind != detachVolume {
			continue
		}
		finished[t.ID] = p.observe(ctx, r.Machines[t.MachineID], t.CreatedAt,
			maxAge).settles(t.Kind,
			v.Device)
	}
	if !slices.Contains(values(finished), true) {
		return r, nil
	}
	err = p.change(ctx, func(now *records) error {
		r = now
		for id, done := range finished {
			if t := now.Tasks[id]; done && t != nil && t.State == provider.TaskOpen {
				now.settle(t)
				p.closeTask(t, provider.TaskDone, "")
			}
		}
		return nil
	})
	return r, err
}

func values(m map[string]bool) (all []bool) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// settle records that a volume is attached or detached.
func (r *records) settle(t *task) {
	v := r.Volumes[t.ObjectID]
	switch {
	case v == nil:
	case t.Kind == attachVolume:
		v.Attachment = provider.AttachmentAttached
	default:
		v.free()
	}
}

// observe is what a machine's host shows since the task was asked: no older than maxAge, and
// remembered for operators.
func (h *hosts) observe(ctx context.Context, m *machine, since time.Time,
	maxAge time.Duration) observation {
	if m == nil {
		return observation{err: provider.Errorf(provider.ErrNotFound, "",
			"the machine is not on record")}
	}
	h.mu.Lock()
	last, asked := h.seen[m.ID]
	h.mu.Unlock()
	s := observation{at: h.cfg.Now()}
	if asked && last.at.After(since) && s.at.Sub(last.at) < maxAge {
		return last
	}
	switch {
	case m.State != provider.MachineRunning:
		s.err = provider.Errorf(provider.ErrIncorrectState, m.ID, "machine %s is %s", m.Name,
			m.State)
	default:
		s.devices, s.err = h.cfg.Hosts.Devices(ctx, m.Machine)
	}
	if ctx.Err() == nil { // else it is the caller who went
		h.mu.Lock()
		maps.DeleteFunc(h.seen, func(_ string, old observation) bool {
			return s.at.Sub(old.at) > keepSeen
		})
		h.seen[m.ID] = s
		h.mu.Unlock()
	}
	return s
}

// settles says whether what the host shows completes the task. A host that cannot be asked shows
// nothing.
func (s observation) settles(kind, device string) bool {
	return s.err == nil && slices.Contains(s.devices, device) == (kind == attachVolume)
}

// shows is what the host showed last, for operators.
func (h *hosts) shows(machineID string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, asked := h.seen[machineID]
	switch {
	case !asked:
		return ""
	case s.err != nil:
		return " (it cannot be asked now: " + s.err.Error() + ")"
	case len(s.devices) == 0:
		return " (it shows no devices)"
	}
	return " (it shows " + strings.Join(s.devices[:min(len(s.devices), 8)], ", ") + ")"
}

// contradict refuses a result that the host contradicts. Only for a detach, when there is no host
// to ask, the result counts.
func (h *hosts) contradict(r *records, t *task, v *volume) error {
	h.mu.Lock()
	s, asked := h.seen[t.MachineID]
	h.mu.Unlock()
	if away := asked && s.err != nil; away && t.Kind == detachVolume {
		v.free()
		return nil
	}
	verb := map[string]string{attachVolume: "does not show", detachVolume: "still shows"}[t.Kind]
	return provider.Errorf(provider.ErrIncorrectState, t.ID,
		"%s %s /dev/disk/by-id/%s, and the agent's observation takes precedence%s",
		r.shortName(t.MachineID),
		verb, v.Device, s.tell())
}

func (s observation) tell() string {
	if s.err != nil {
		return ": it cannot be asked: " + s.err.Error()
	}
	return ": it shows " + or(strings.Join(s.devices, ", "), "no devices")
}
