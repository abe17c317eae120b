package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/deploy/lab/host"
)

// supervisor runs one machine from its start, over reboots, until it is off.
type supervisor struct {
	lab     lab
	id      string
	log     *slog.Logger
	groups  host.Groups
	own     string // its own control group
	machine string // the one below it, for nspawn
	signals chan os.Signal
	// stopping and the like are what a signal asked for.
	stopping, rebooting bool
}

func runSupervisor(l lab, id string) error {
	runtime.LockOSThread() // nspawn dies with the thread that started it
	alive, won, err := holdAlive(l.runLock(id))
	if err != nil || !won {
		return err
	}
	defer alive.Close()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, signalStop, signalReboot, unix.SIGINT)
	if err := redirectStdout(); err != nil {
		return err
	}
	s := &supervisor{lab: l, id: id, signals: signals,
		log: slog.New(slog.NewTextHandler(os.Stderr, nil)).With("machine", id)}
	if err := s.run(context.Background()); err != nil {
		s.log.Error("machine failed", "error", err)
		return err
	}
	return nil
}

// redirectStdout closes the pipe to whoever waits for the lock to be taken.
func redirectStdout() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return errors.Join(unix.Dup2(int(null.Fd()), 0), unix.Dup2(int(null.Fd()), 1))
}

func (s *supervisor) run(ctx context.Context) error {
	if err := s.makeGroups(); err != nil {
		return s.off(ctx, "cannot start: "+err.Error())
	}
	for {
		m, err := s.begin(ctx)
		if err != nil || m == nil {
			return err
		}
		again, reason := s.boot(ctx, m)
		s.log.Info("machine is off", "reason", reason, "reboot", again)
		if err := s.groups.Kill(ctx, s.machine); err != nil {
			reason, again = err.Error(), false
		}
		if !again {
			return s.off(ctx, reason)
		}
	}
}

// makeGroups chooses the control groups. nspawn makes its payload's below its own, so two
// machines started from one group would share it and kill each other's units.
func (s *supervisor) makeGroups() (err error) {
	if s.groups, err = host.FindGroups(); err != nil {
		return err
	}
	s.own = s.lab.cgroup(s.id)
	if host.UnderSystemd() {
		if s.own, err = s.groups.Own(); err != nil {
			return err
		}
	}
	s.machine = machineGroup(s.own)
	if err := s.groups.Kill(context.Background(), s.machine); err != nil { // of a killed supervisor
		return err
	}
	return s.groups.Enter(monitorGroup(s.own))
}

func machineGroup(own string) string { return filepath.Join(own, "machine") }
func monitorGroup(own string) string { return filepath.Join(own, "monitor") }

// begin says where this machine's processes will be found. No machine when it is not to
// be started any more.
func (s *supervisor) begin(ctx context.Context) (*machineRecord, error) {
	var m *machineRecord
	err := s.update(ctx, func(record *machineRecord) {
		switch record.Phase {
		case phaseStarting, phaseRunning:
			record.CGroup, record.Leader = s.own, 0
			m = record
		case phaseStopping:
			record.setPhase(phaseStopped, record.Reason, time.Now())
		}
	})
	return m, err
}

// update changes the machine's record under the lab's lock.
func (s *supervisor) update(ctx context.Context, change func(*machineRecord)) error {
	unlock, err := lockFile(ctx, s.lab.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	m, err := loadRecord[machineRecord](s.lab, machineKind, s.id)
	if err != nil {
		return err
	}
	change(m)
	return saveRecord(s.lab, machineKind, s.id, m)
}

func (s *supervisor) off(ctx context.Context, reason string) error {
	return s.update(ctx, func(m *machineRecord) {
		m.Leader = 0
		if m.Phase != phaseTerminating && m.Phase != phaseTerminated {
			m.setPhase(phaseStopped, reason, time.Now())
		}
	})
}

// prepare makes everything that the machine stands on, whatever of it is there.
func (s *supervisor) prepare(ctx context.Context, m *machineRecord) error {
	if err := s.makeDefaultVolume(ctx, m); err != nil {
		return err
	}
	if err := s.lab.mountRoot(m); err != nil {
		return err
	}
	if err := removeNspawnDirs(s.lab.nspawn(m.ID)); err != nil {
		return err
	}
	if err := s.lab.makeNetwork(ctx, m); err != nil {
		return fmt.Errorf("cannot make the network of machine %s: %w", m.ID, err)
	}
	unlock, err := lockFile(ctx, s.lab.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	attached, err := s.lab.attachedLoops(m.ID)
	if err != nil {
		return err
	}
	return s.lab.writeTmpfiles(m.ID, attached)
}

// attachedLoops gives every volume of the machine a loop device.
func (l lab) attachedLoops(machine string) (map[string]int, error) {
	volumes, err := allRecords[volumeRecord](l, volumeKind)
	if err != nil {
		return nil, err
	}
	attached := map[string]int{}
	for _, v := range volumes {
		if v.MachineID != machine || v.Detaching {
			continue
		}
		if attached[v.ID], err = l.ensureLoop(l.volumeFile(v.ID)); err != nil {
			return nil, err
		}
	}
	return attached, nil
}

// makeDefaultVolume formats the image's own volume, once: the file gets its name when it
// is formatted, and a volume that is recorded elsewhere or deleted is none of ours.
func (s *supervisor) makeDefaultVolume(ctx context.Context, m *machineRecord) error {
	if m.Default == nil {
		return nil
	}
	v, err := loadRecord[volumeRecord](s.lab, volumeKind, m.Default.ID)
	if err != nil {
		return err
	}
	file := s.lab.volumeFile(v.ID)
	if v.MachineID != m.ID {
		return nil
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeSparse(file+".new", v.SizeBytes); err != nil {
		return err
	}
	argv := []string{"mkfs.ext4", "-q", "-F", "-E",
		"nodiscard,lazy_itable_init=1,lazy_journal_init=1", file + ".new"}
	if m.Default.Filesystem == "xfs" {
		argv = []string{"mkfs.xfs", "-q", "-f", "-K", file + ".new"}
	}
	if _, err := tool(ctx, "", argv...); err != nil {
		return fmt.Errorf("cannot format default volume %s: %w", v.ID, err)
	}
	return os.Rename(file+".new", file)
}
