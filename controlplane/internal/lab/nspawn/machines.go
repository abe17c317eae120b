package nspawn

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// CreateMachine records the machine and starts its supervisor, which does the rest.
func (p *Provider) CreateMachine(ctx context.Context,
	req provider.CreateMachineRequest) (provider.Machine, error) {
	var none provider.Machine
	if err := req.Validate(); err != nil {
		return none, err
	}
	spec, err := p.spec(req.Image)
	if err != nil {
		return none, err
	}
	if req.Zone, err = p.zone(req.Zone); err != nil {
		return none, err
	}
	unlock, err := p.enter(ctx)
	if err != nil {
		return none, err
	}
	defer unlock()
	machines, err := allRecords[machineRecord](p.lab, machineKind)
	if err != nil {
		return none, err
	}
	params := hashOf([]any{req.Name, req.Image, req.Zone, req.Tags})
	for _, m := range machines {
		if m.Token == req.ClientToken && m.ParamsHash != params {
			return none, tokenReused(req.ClientToken, m.ID)
		}
		if m.Token == req.ClientToken {
			return p.settledMachine(ctx, m), nil
		}
	}
	m, err := p.recordMachine(req, spec, params, machines)
	if err != nil {
		return none, err
	}
	return p.settledMachine(ctx, m), nil
}

// recordMachine makes the machine's directory and then its record: a directory without a
// record is one whose making was killed, and is removed here.
func (p *Provider) recordMachine(req provider.CreateMachineRequest, spec ImageSpec, params string,
	others []*machineRecord) (*machineRecord, error) {
	if err := p.removeOrphans(others); err != nil {
		return nil, err
	}
	ordinal, err := p.freeOrdinal(others)
	if err != nil {
		return nil, err
	}
	var record labRecord
	if err := readJSON(p.lab.path("lab.json"), &record); err != nil {
		return nil, err
	}
	lower, err := p.layers(spec)
	if err != nil {
		return nil, err
	}
	now := p.cfg.Now()
	m := &machineRecord{ID: newID("i"), Name: req.Name, Token: req.ClientToken, ParamsHash: params,
		Tags: req.Tags, Image: req.Image,
		Zone: req.Zone, Ordinal: ordinal, Address: nthAddress(record.Subnet, ordinal),
		MachineID: randomHex(16), Lower: lower,
		Loopback: p.cfg.LoopbackAddresses, StopLimit: p.cfg.StopLimit, Phase: phaseStarting,
		PhaseAt: now, CreatedAt: now}
	if spec.DefaultVolume != nil {
		m.Default = &defaultVolumeRecord{ID: newID("vol"),
			Filesystem: spec.DefaultVolume.Filesystem}
	}
	if err := p.lab.seedMachine(m, req.UserData); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.lab.runDir(m.ID), 0o700); err != nil {
		return nil, err
	}
	// The volume's record comes first: one whose machine has no record is an orphan too.
	if err := p.recordDefaultVolume(m, spec); err != nil {
		return nil, err
	}
	return m, saveRecord(p.lab, machineKind, m.ID, m)
}

func (p *Provider) recordDefaultVolume(m *machineRecord, spec ImageSpec) error {
	if m.Default == nil {
		return nil
	}
	v := &volumeRecord{ID: m.Default.ID, SizeBytes: spec.DefaultVolume.SizeBytes, Zone: m.Zone,
		Type: "file", Default: true,
		DeleteOnTermination: true, MachineID: m.ID, AttachedAt: m.CreatedAt, CreatedAt: m.CreatedAt}
	return saveRecord(p.lab, volumeKind, v.ID, v)
}

// removeOrphans removes what a killed CreateMachine made before its record.
func (p *Provider) removeOrphans(machines []*machineRecord) error {
	known := map[string]bool{}
	for _, m := range machines {
		known[m.ID] = true
	}
	for _, parent := range []string{p.lab.pool("machines"), p.lab.path("run")} {
		entries, err := os.ReadDir(parent)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if known[entry.Name()] {
				continue
			}
			if err := removeTree(filepath.Join(parent, entry.Name())); err != nil {
				return err
			}
		}
	}
	volumes, err := allRecords[volumeRecord](p.lab, volumeKind)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if v.Default && v.MachineID != "" && !known[v.MachineID] {
			if err := removeFile(p.lab.path("records", volumeKind, v.ID+".json")); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Provider) freeOrdinal(machines []*machineRecord) (int, error) {
	taken := map[int]bool{}
	for _, m := range machines {
		if m.Phase != phaseTerminated {
			taken[m.Ordinal] = true
		}
	}
	if len(taken) >= p.cfg.Limits.Machines {
		return 0, provider.Errorf(provider.ErrLimitExceeded, "",
			"lab %s has %d machines, its limit: terminate some", p.cfg.Name, len(taken))
	}
	ordinal := firstOrdinal
	for taken[ordinal] {
		ordinal++
	}
	return ordinal, nil
}

// GetMachine reads one machine.
func (p *Provider) GetMachine(ctx context.Context, id string) (provider.Machine, error) {
	unlock, err := p.enter(ctx)
	if err != nil {
		return provider.Machine{}, err
	}
	defer unlock()
	m, err := p.loadMachine(id)
	if err != nil {
		return provider.Machine{}, err
	}
	return p.settledMachine(ctx, m), nil
}

// ListMachines lists machines, oldest first.
func (p *Provider) ListMachines(ctx context.Context,
	filter provider.Filter) ([]provider.Machine, error) {
	unlock, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	records, err := allRecords[machineRecord](p.lab, machineKind)
	if err != nil {
		return nil, err
	}
	var list []provider.Machine
	for _, m := range records {
		if p.forgotten(m) || !filter.Matches(m.Tags) {
			continue
		}
		list = append(list, p.settledMachine(ctx, m))
	}
	return byCreation(list, func(m provider.Machine) time.Time { return m.CreatedAt }), nil
}

// StartMachine switches a stopped machine on.
func (p *Provider) StartMachine(ctx context.Context, id string) error {
	return p.withMachine(ctx, id, func(m *machineRecord) error {
		switch m.Phase {
		case phaseStarting, phaseRunning:
			return nil
		case phaseStopped:
			return p.changePhase(ctx, m, phaseStarting, "")
		}
		return wrongPhase(m, "started")
	})
}

// StopMachine shuts a machine down.
func (p *Provider) StopMachine(ctx context.Context, id string) error {
	return p.withMachine(ctx, id, func(m *machineRecord) error {
		switch m.Phase {
		case phaseStopped, phaseStopping:
			return nil
		case phaseStarting, phaseRunning:
			return p.changePhase(ctx, m, phaseStopping, "a stop was asked for")
		}
		return wrongPhase(m, "stopped")
	})
}

// RebootMachine restarts a machine's system.
func (p *Provider) RebootMachine(ctx context.Context, id string) error {
	return p.withMachine(ctx, id, func(m *machineRecord) error {
		if m.Phase != phaseRunning {
			return wrongPhase(m, "rebooted")
		}
		return p.lab.signalSupervisor(m.ID, signalReboot)
	})
}

// TerminateMachine ends a machine for good.
func (p *Provider) TerminateMachine(ctx context.Context, id string) error {
	return p.withMachine(ctx, id, func(m *machineRecord) error {
		if m.Phase == phaseTerminated {
			return nil
		}
		return p.changePhase(ctx, m, phaseTerminating, "a termination was asked for")
	})
}

// withMachine acts on a settled machine under the lab's lock.
func (p *Provider) withMachine(ctx context.Context, id string,
	act func(*machineRecord) error) error {
	unlock, err := p.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := p.loadMachine(id)
	if err != nil {
		return err
	}
	if err := p.settleMachine(ctx, m); err != nil {
		return err
	}
	return act(m)
}

func (p *Provider) loadMachine(id string) (*machineRecord, error) {
	if kindOf(id) != machineKind {
		return nil, provider.Errorf(provider.ErrNotFound, "",
			"machine %.40q not found: that is not the ID of a machine", id)
	}
	m, err := loadRecord[machineRecord](p.lab, machineKind, id)
	if err == nil && p.forgotten(m) {
		return nil, provider.Errorf(provider.ErrNotFound, id, "machine %s not found", id)
	}
	return m, err
}

func (p *Provider) forgotten(m *machineRecord) bool {
	return m.Phase == phaseTerminated && p.since(m.PhaseAt, p.cfg.Delays.Forget)
}

func wrongPhase(m *machineRecord, done string) error {
	return provider.Errorf(provider.ErrIncorrectState, m.ID, "machine %s cannot be %s: it is %s",
		m.ID, done, m.Phase)
}
