package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/agent/internal/denylist"
	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/agent/internal/fencing"
	"github.com/understudy-db/understudy/agent/internal/grants"
	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/marks"
	"github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/agent/internal/observe"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
	hostservice "github.com/understudy-db/understudy/agent/internal/service/host"
	mariadbservice "github.com/understudy-db/understudy/agent/internal/service/mariadb"
	mountservice "github.com/understudy-db/understudy/agent/internal/service/mount"
	observationservice "github.com/understudy-db/understudy/agent/internal/service/observation"
	systemdservice "github.com/understudy-db/understudy/agent/internal/service/systemd"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// parts are what the agent is made of.
type parts struct {
	exec    *hostexec.Runner
	allow   *systemd.AllowList
	units   *systemd.Manager
	mounts  *mount.Manager
	mariadb *mariadb.Host
	marks   *marks.Keeper
	quiesce *quiesce.Manager
	watch   *observe.Watch
	sampler *observe.Sampler
	server  atomic.Pointer[chassis.Server]
	local   atomic.Pointer[chassis.Server] // on the socket; nil where there is none
	// renewal says what keeps the agent's certificate from being renewed; nil where nobody does it.
	renewal func() (since time.Time, why error)
}

// installed is the agent's own file, for commands that start no process which outlives them.
const installed = "/usr/bin/understudy-agent"

// build makes the parts; nothing of the host is touched yet.
func build(config Config, program string, tls identity.FilesConfig,
	log *slog.Logger) (*parts, error) {
	var p parts
	var err error
	if p.exec, err = hostexec.New(hostexec.Config{Log: log}); err != nil {
		return nil, err
	}
	if p.allow, err = systemd.NewAllowList(config.Units, config.UnitsReadOnly); err != nil {
		return nil, err
	}
	if p.units, err = systemd.New(systemd.Config{Exec: p.exec, Allow: p.allow,
		Log: log}); err != nil {
		return nil, err
	}
	p.mounts, err = mount.New(mount.Config{Exec: p.exec, Units: p.units, Files: p.units.Files,
		MountPoints: config.MountPoints, DeviceIDs: config.DeviceIDs,
		RuntimeDir: config.RuntimeDir, StateDir: config.StateDir, GuardExec: []string{program},
		Log: log})
	if err != nil {
		return nil, err
	}
	p.marks = marks.New(marks.Config{File: filepath.Join(config.StateDir, "marks.json"),
		Follow: func(ctx context.Context, from systemd.From,
			each func(systemd.Entry) error) error {
			return p.units.Journal.Follow(ctx, mariadb.Unit, from, each)
		}, Written: func(ctx context.Context, since time.Time) ([]string, error) {
			return p.mariadb.Server.Written(ctx, since)
		}, Log: log})
	p.watch = observe.New()
	p.mariadb, err = mariadb.New(mariadb.Config{Exec: p.exec, Timers: p.units, Units: p.units.Files,
		Observed: p.watch.Observed,
		StateDir: config.StateDir, Program: program,
		TLS:      mariadb.TLSFiles{CA: tls.CA, Cert: tls.Cert, Key: tls.Key},
		Quiesced: p.quiesced, Begins: p.marks.Begin, Log: log})
	if err != nil {
		return nil, err
	}
	p.units.SetReady(mariadb.Unit, p.mariadb.Server.Ready)
	p.units.SetStartable(mariadb.Unit, p.mariadb.Configuration.Startable)
	p.quiesce, err = quiesce.New(quiesce.Config{Dir: config.RuntimeDir, Appliers: p.mariadb.Server,
		Log: log, Ended: p.watch.QuiesceEnded,
		Launcher: &quiesce.UnitLauncher{Units: p.units, Program: program,
			Mount: p.mariadb.Server.DatadirMount}})
	p.sampler = p.observer(mariadb.DefaultDatadir)
	return &p, err
}

// observer observes MariaDB's unit, MariaDB, and the filesystem of its datadir.
func (p *parts) observer(datadir string) *observe.Sampler {
	return observe.NewSampler(observe.Config{
		Status: p.mariadb.Status, Sample: p.mariadb.Sample,
		Connections: p.mariadb.Server.Connections,
		Unit: func(ctx context.Context) (systemd.Unit, error) {
			return p.units.Get(ctx, mariadb.Unit)
		},
		Starting: p.units.Starting,
		Errors:   p.units.Journal.Errors, Quiesced: p.quiesced,
		Unresumed: p.quiesce.Unresumed, Unrenewed: p.unrenewed,
		PausedBy: p.mariadb.Replica.PausedBy, Hanging: p.hanging,
		Marks: p.marks.Observe, Datadir: datadir}, p.watch)
}

// quiesced is true while MariaDB is quiesced. The part of MariaDB asks before p.quiesce is made.
func (p *parts) quiesced() bool { return p.quiesce != nil && p.quiesce.Active() }

// hanging is a call of the agent that goes on although it is over.
func (p *parts) hanging() (method string, since time.Time) {
	for _, server := range []*chassis.Server{p.server.Load(), p.local.Load()} {
		if server == nil {
			continue
		}
		if method, since = server.Hanging(); method != "" {
			return method, since
		}
	}
	return "", time.Time{}
}

// unrenewed is why the agent's certificate was not renewed in time.
func (p *parts) unrenewed() (since time.Time, why error) {
	if p.renewal == nil {
		return time.Time{}, nil
	}
	return p.renewal()
}

// refreshCertificate hands MariaDB the agent's newest certificate. A MariaDB that is stopped reads
// it when it starts, and is not started through its socket unit.
func (p *parts) refreshCertificate(ctx context.Context) error {
	unit, err := p.units.Get(ctx, mariadb.Unit)
	if err != nil && !errors.Is(err, errs.NotFound) {
		return err
	}
	return p.mariadb.Configuration.RefreshCertificate(ctx, err == nil && !unit.Stopped())
}

func (p *parts) close(log *slog.Logger) {
	if err := p.mariadb.Server.Close(); err != nil {
		log.Warn("cannot close the connections to MariaDB", "error", err)
	}
	p.units.Close()
}

// told are the lists that the control plane tells.
type told struct {
	denied *denylist.List
	grants *grants.List
}

// register adds the services to the servers.
func (p *parts) register(server grpc.ServiceRegistrar, name, version string,
	enroller *enroll.Enroller, epochs *fencing.Epochs, lists told, log *slog.Logger) {
	server.RegisterService(&agentv1.SystemdService_ServiceDesc,
		systemdservice.New(p.units, p.allow))
	server.RegisterService(&agentv1.MountService_ServiceDesc, mountservice.New(p.mounts, p.allow))
	server.RegisterService(&agentv1.HostService_ServiceDesc, hostservice.New(hostservice.Config{
		Digests: mariadb.Digests, RowHash: mariadb.RowHash,
		Server: name, Version: version, MariaDB: p.mariadb, Systemd: p.units,
		Databases: p.mounts, SetControlPlane: enroller.SetControlPlane,
		RenewCertificates: enroller.RenewFor,
		SetDenyList:       lists.denied.Set, SetGrants: lists.grants.Set, Log: log}))
	server.RegisterService(&agentv1.MariaDBService_ServiceDesc,
		mariadbservice.New(p.mariadb, p.quiesce))
	server.RegisterService(&agentv1.ObservationService_ServiceDesc,
		observationservice.New(p.sampler, epochs.Newest))
}

// makeDirs makes the agent's own directories; systemd has made them when the agent runs as a unit.
func makeDirs(config Config) error {
	for _, dir := range []string{config.StateDir, config.RuntimeDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("cannot make the agent's directory: %w", err)
		}
	}
	return nil
}

// resume puts in order what an agent before this one left behind.
func (p *parts) resume(ctx context.Context, log *slog.Logger) {
	p.quiesce.Clear(ctx)
	// Nothing reserved: MariaDB is not asked. A connection would wake one that was stopped, through
	// its socket unit. While it is quiesced it does not answer; Keep asks it afterwards.
	if kept, err := p.mariadb.Reservations.InForce(); err == nil && len(kept) == 0 || p.quiesced() {
		return
	}
	if err := p.mariadb.Reservations.Resume(ctx); err != nil && ctx.Err() == nil {
		log.Warn("cannot resume the reservations of binary logs yet", "error", err)
	}
}

func epochsFile(config Config) string { return filepath.Join(config.StateDir, "epochs.json") }

func denyFile(config Config) string { return filepath.Join(config.StateDir, "denied.json") }

// mariadbRuns asks systemd alone: a connection would start a MariaDB that was stopped, through its
// socket unit.
func (p *parts) mariadbRuns(ctx context.Context) bool {
	unit, err := p.units.Get(ctx, mariadb.Unit)
	return err == nil && unit.Running()
}
