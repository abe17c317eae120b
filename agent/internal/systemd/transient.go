package systemd

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// TransientPrefix begins the name of every transient unit, so that none takes the place of a unit
// of the host.
const TransientPrefix = "understudy-"

// TransientSpec says what a transient unit runs. It vanishes at a reboot, and with its end.
type TransientSpec struct {
	// Description for an operator to read.
	Description string
	// Exec is the argument list, an absolute path first. No secret: everybody can read it.
	Exec []string
	// ExecStopPost are argument lists that run after the unit's end, however it ended; its hard
	// limit included.
	ExecStopPost [][]string
	// Type is "exec" (the default), "notify", "oneshot", "simple". With "notify" the start is over
	// with READY=1.
	Type string
	// RuntimeMax is the hard limit that systemd itself enforces; 0 is none.
	RuntimeMax time.Duration
	// TimeoutStart and TimeoutStop bound start and stop, ExecStopPost included; 0 is systemd's
	// default.
	TimeoutStart, TimeoutStop time.Duration
	// OOMScoreAdjust is the unit's; 0 leaves the default.
	OOMScoreAdjust int
}

// StartTransient starts a transient service and waits for the end of the start; ctx bounds the
// wait. The name must begin with TransientPrefix. One of that name that still runs is
// AlreadyExists; what is left of one that failed is cleared away.
func (m *Manager) StartTransient(ctx context.Context, name string, spec TransientSpec) error {
	if err := checkTransient(name, spec); err != nil {
		return err
	}
	return m.transient(ctx, name, serviceProperties(spec), nil)
}

const (
	// replaceLimit is how long the start of a timer is tried in place of one that is there.
	replaceLimit = 20 * time.Second
	replaceAgain = 100 * time.Millisecond
)

// StartTransientTimer starts a timer that starts a service once, after so long by the monotonic
// clock. The name is that of the service ("understudy-release-x.service"); the timer's is the same
// with ".timer". One that waits already is replaced.
func (m *Manager) StartTransientTimer(ctx context.Context, name string, after time.Duration,
	spec TransientSpec) error {
	if err := checkTransient(name, spec); err != nil {
		return err
	}
	timer := strings.TrimSuffix(name, ".service") + ".timer"
	properties := []dbus.Property{
		dbus.PropDescription(spec.Description),
		{Name: "TimersMonotonic",
			Value: godbus.MakeVariant([]timerSpec{{"OnActiveSec", usec(after)}})},
		{Name: "AccuracyUSec", Value: godbus.MakeVariant(usec(100 * time.Millisecond))},
		{Name: "RemainAfterElapse", Value: godbus.MakeVariant(false)},
	}
	service := []dbus.PropertyCollection{{Name: name, Properties: serviceProperties(spec)}}
	// A timer that was stopped stays loaded for a moment, and the start that an agent asked for
	// before it was killed may come behind the stop.
	for begin := time.Now(); ; {
		if err := m.StopTransient(ctx, timer); err != nil {
			return err
		}
		err := m.transient(ctx, timer, properties, service)
		if errs.KindOf(err) != errs.AlreadyExists || time.Since(begin) > replaceLimit ||
			loop.Pause(ctx, replaceAgain) != nil {
			return err
		}
	}
}

// StopTransient stops a transient service or timer; one that is not there is stopped already.
func (m *Manager) StopTransient(ctx context.Context, name string) error {
	if !strings.HasPrefix(name, TransientPrefix) {
		return notTransient(name)
	}
	unit, err := m.bus.look(ctx, name)
	if err != nil {
		return err
	}
	if unit.Load == "not-found" && unit.Stopped() || unit.Active == inactive {
		return nil
	}
	if unit.Active == failed {
		return m.bus.resetFailed(ctx, name)
	}
	if _, err = m.jobs.run(ctx, stopping(), name, nil); err != nil &&
		errs.KindOf(err) == errs.NotFound {
		return nil // it ended by itself meanwhile
	}
	return err
}

func (m *Manager) transient(ctx context.Context, name string, properties []dbus.Property,
	aux []dbus.PropertyCollection) error {
	unit, err := m.bus.look(ctx, name)
	if err != nil {
		return err
	}
	if unit.Active == failed {
		if err := m.bus.resetFailed(ctx, name); err != nil {
			return err
		}
	}
	start := verb{"start", func(conn *dbus.Conn, ctx context.Context, name, mode string,
		result chan<- string) (int, error) {
		return conn.StartTransientUnitAux(ctx, name, mode, properties, aux, result)
	}}
	_, err = m.jobs.run(ctx, start, name, nil)
	if dbusName(err) == "org.freedesktop.systemd1.UnitExists" {
		return errs.New(errs.AlreadyExists, errorsv1.Reason_REASON_ALREADY_EXISTS,
			fmt.Sprintf("cannot start %s: it runs already", name),
			errs.Wrap(err), errs.Meta("unit", name),
			errs.WithHint("wait for its end, or stop it on the host (systemctl stop "+name+")"))
	}
	return err
}

// The shapes that systemd wants on D-Bus: a(sasb), a(st) and (bas).
type (
	execSpec struct {
		Path          string
		Args          []string
		IgnoreFailure bool
	}
	timerSpec struct {
		Base string
		USec uint64
	}
	familySet struct {
		Allowed  bool
		Families []string
	}
)

func serviceProperties(spec TransientSpec) []dbus.Property {
	properties := []dbus.Property{
		dbus.PropDescription(spec.Description),
		dbus.PropType(cmp.Or(spec.Type, "exec")),
		{Name: "ExecStart", Value: godbus.MakeVariant([]execSpec{{spec.Exec[0], spec.Exec,
			false}})},
		{Name: "CollectMode", Value: godbus.MakeVariant("inactive-or-failed")},
	}
	add := func(wanted bool, name string, value any) {
		if wanted {
			properties = append(properties,
				dbus.Property{Name: name, Value: godbus.MakeVariant(value)})
		}
	}
	var after []execSpec
	for _, argv := range spec.ExecStopPost {
		after = append(after, execSpec{argv[0], argv, true})
	}
	add(after != nil, "ExecStopPost", after)
	// "exec" is the main process and what runs after it, which may ask for more time.
	add(spec.Type == "notify", "NotifyAccess", "exec")
	add(spec.RuntimeMax > 0, "RuntimeMaxUSec", usec(spec.RuntimeMax))
	add(spec.TimeoutStart > 0, "TimeoutStartUSec", usec(spec.TimeoutStart))
	add(spec.TimeoutStop > 0, "TimeoutStopUSec", usec(spec.TimeoutStop))
	add(spec.OOMScoreAdjust != 0, "OOMScoreAdjust", int32(spec.OOMScoreAdjust))
	return append(properties, confinement()...)
}

// confinement is what a transient unit cannot do: it freezes a filesystem, asks MariaDB and
// systemd over their sockets, looks at MariaDB's open files, and writes files of its own.
func confinement() []dbus.Property {
	var capabilities uint64
	for _, one := range []int{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH,
		unix.CAP_FOWNER, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE} {
		capabilities |= 1 << one
	}
	var all []dbus.Property
	for name, value := range map[string]any{
		"CapabilityBoundingSet": capabilities, "NoNewPrivileges": true, "RestrictRealtime": true,
		"RestrictSUIDSGID": true, "LockPersonality": true, "MemoryDenyWriteExecute": true,
		"RestrictNamespaces": uint64(0), "SystemCallArchitectures": []string{"native"},
		"RestrictAddressFamilies": familySet{true, []string{"AF_UNIX"}}, "LimitCORE": uint64(0),
		"UMask": uint32(0o077),
	} {
		all = append(all, dbus.Property{Name: name, Value: godbus.MakeVariant(value)})
	}
	return all
}

func usec(d time.Duration) uint64 { return uint64(max(d, 0).Microseconds()) }

func checkTransient(name string, spec TransientSpec) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if !strings.HasPrefix(name, TransientPrefix) || !strings.HasSuffix(name, ".service") {
		return notTransient(name)
	}
	for _, argv := range append([][]string{spec.Exec}, spec.ExecStopPost...) {
		if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
			return errs.New(errs.Internal, errorsv1.Reason_REASON_INTERNAL,
				fmt.Sprintf("cannot start %s: %q does not begin with an absolute path", name, argv),
				errs.WithHint("install another build of the agent"))
		}
	}
	return nil
}

func notTransient(name string) error {
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
		fmt.Sprintf("cannot use %s as a transient unit: its name does not begin with %s", name,
			TransientPrefix),
		errs.WithHint("name it "+TransientPrefix+"…"))
}
