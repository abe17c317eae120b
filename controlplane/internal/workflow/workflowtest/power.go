package workflowtest

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Looks at a host from the request to restart it: it answers from its former boot, then not at all.
const (
	rebootLooks = 6
	downLooks   = 4
)

// BootID is of the host's kernel.
func (h *Host) BootID() string { return fmt.Sprintf("boot-%s-%d", h.name, h.boots) }

// Boots are how often the host was booted again; the caller holds World.Mu.
func (h *Host) Boots() int { return h.boots }

// down is the end of a boot: what runs is gone.
func (h *Host) down() { h.Running, h.off = nil, true }

// up is a boot: the mounts are those of the unit files, and MariaDB starts where it is enabled.
func (h *Host) up() {
	h.off = false
	h.boots++
	if h.Enabled && !h.Masked && !h.Unbooted && h.Running == nil {
		h.Start()
	}
}

// turn moves a restart on by a look; false while the host is down.
func (h *Host) turn() bool {
	if h.restarting == 0 {
		return !h.off
	}
	h.restarting--
	if h.restarting == downLooks {
		h.down()
	}
	if h.restarting == 0 {
		h.up()
	}
	return !h.off
}

func (v cloudView) hostOf(machine string) *Host {
	for _, h := range v.c.w.Hosts {
		if h.machine.ID == machine {
			return h
		}
	}
	return nil
}

// RebootMachine takes the request, and the host goes down a while later.
func (v cloudView) RebootMachine(ctx context.Context, id string) error {
	return v.call(ctx, "RebootMachine", true, func() error {
		m, err := v.machine(id)
		if err != nil {
			return err
		}
		if m.State != provider.MachineRunning {
			return provider.Errorf(provider.ErrIncorrectState, id, "machine %s is %s", id, m.State)
		}
		if h := v.hostOf(id); h != nil && !v.c.Deaf {
			h.restarting = rebootLooks
		}
		return nil
	})
}

// StopMachine takes the request, and the machine is off a while later.
func (v cloudView) StopMachine(ctx context.Context, id string) error {
	return v.call(ctx, "StopMachine", true, func() error {
		m, err := v.machine(id)
		if err == nil && (m.State == provider.MachineRunning ||
			m.State == provider.MachinePending) {
			m.State, v.c.Settling[id], v.c.stops[id] = provider.MachineStopping, 1, true
			if h := v.hostOf(id); h != nil && h.Running != nil {
				h.Cuts++
			}
		}
		return err
	})
}
