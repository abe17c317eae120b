package nspawn

import (
	"context"
	"errors"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// AttachVolume records the attachment and plugs the device into the machine if it is on.
func (p *Provider) AttachVolume(ctx context.Context, id,
	machineID string) (provider.Volume, error) {
	var shown provider.Volume
	err := p.withVolume(ctx, id, func(v *volumeRecord) error {
		m, err := p.loadMachine(machineID)
		if err != nil {
			return err
		}
		if err := p.settleMachine(ctx, m); err != nil {
			return err
		}
		if err := p.checkAttachable(v, m); err != nil {
			return err
		}
		v.MachineID, v.AttachedAt = m.ID, p.cfg.Now()
		err = p.saveAndSettle(ctx, v)
		shown = p.showVolume(v)
		return err
	})
	return shown, err
}

func (p *Provider) checkAttachable(v *volumeRecord, m *machineRecord) error {
	state := p.volumeState(v)
	switch {
	case v.MachineID != "":
		return volumeInUse(v)
	case state != provider.VolumeAvailable:
		return wrongState(v, state, "attached")
	case m.Phase != phaseRunning && m.Phase != phaseStopped:
		return wrongPhase(m, "given a volume")
	case v.Zone != m.Zone:
		return provider.Errorf(provider.ErrInvalid, v.ID,
			"volume %s is in zone %s and machine %s in %s: they must be in one", v.ID, v.Zone, m.ID,
			m.Zone)
	}
	return nil
}

// DetachVolume records the detach, which ends when the machine no longer uses the device.
func (p *Provider) DetachVolume(ctx context.Context, id,
	machineID string) (provider.Volume, error) {
	var shown provider.Volume
	err := p.withVolume(ctx, id, func(v *volumeRecord) error {
		if v.MachineID == "" || v.MachineID != machineID {
			return provider.Errorf(provider.ErrIncorrectState, id,
				"volume %s is not attached to machine %.40q", id, machineID)
		}
		v.Detaching = true
		err := p.saveAndSettle(ctx, v)
		shown = p.showVolume(v)
		return err
	})
	return shown, err
}

// settleAttachment plugs the device into its machine unless it is there. A machine that is
// off or booting gets it from its supervisor.
func (p *Provider) settleAttachment(_ context.Context, v *volumeRecord) error {
	m, err := loadRecord[machineRecord](p.lab, machineKind, v.MachineID)
	if err != nil || !p.lab.isOn(m) {
		return err
	}
	return p.lab.plug(m, v.ID)
}

// detach completes a detach, or leaves it under way while the machine has the device
// mounted. The device is claimed before its node goes, so nobody can mount it meanwhile.
func (p *Provider) detach(v *volumeRecord) error {
	m, err := loadRecord[machineRecord](p.lab, machineKind, v.MachineID)
	if err != nil && !errors.Is(err, provider.ErrNotFound) {
		return err
	}
	free, err := freeLoop(p.lab.volumeFile(v.ID), func() error {
		if m == nil || !p.lab.isOn(m) {
			return nil
		}
		return p.lab.unplug(m, v.ID)
	})
	if err != nil || !free {
		return err
	}
	v.MachineID, v.Detaching, v.DeleteOnTermination = "", false, false
	return saveRecord(p.lab, volumeKind, v.ID, v)
}

// releaseVolumes lets go of the volumes of a machine whose processes are gone. Its mounts go
// a moment later, so that a detach may still be under way when this returns.
func (p *Provider) releaseVolumes(machine string) error {
	volumes, err := allRecords[volumeRecord](p.lab, volumeKind)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if v.MachineID != machine {
			continue
		}
		if v.DeleteOnTermination {
			v.MachineID, v.Detaching, v.DeletedAt = "", false, p.cfg.Now()
		} else {
			v.Detaching = true
		}
		if err := saveRecord(p.lab, volumeKind, v.ID, v); err != nil {
			return err
		}
		if n, ok := findLoop(p.lab.volumeFile(v.ID)); ok {
			if err := dropLoop(n); err != nil { // by the kernel, even if nobody ever looks again
				return err
			}
		}
		if err := p.settleVolume(context.Background(), v); err != nil {
			return err
		}
	}
	return nil
}
