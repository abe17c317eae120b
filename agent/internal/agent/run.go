package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/agent/internal/denylist"
	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/agent/internal/fencing"
	"github.com/understudy-db/understudy/agent/internal/grants"
	auditservice "github.com/understudy-db/understudy/agent/internal/service/audit"
	"github.com/understudy-db/understudy/agent/internal/trail"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const (
	// joinRetry is how long to wait, at most, before a join file is tried again that was refused; a
	// new one is tried at once.
	joinRetry = 30 * time.Second
	joinPoll  = time.Second
	// longCall is the end of unary calls that wait for systemd's jobs or large filesystems; they
	// carry timeouts of their own.
	longCall  = 6 * time.Hour
	stopGrace = 10 * time.Second
)

// Options is what Run needs besides the configuration.
type Options struct {
	// Version of the agent.
	Version string
	// Program is the absolute path of the agent's own file: processes that must outlive the agent
	// are started from it.
	Program string
	// Log gets the log; default slog.Default().
	Log *slog.Logger
	// Ready is called with the address once the agent serves; may be nil.
	Ready func(address string)
}

// Run enrols the agent and serves until ctx is done; a stop leaves nothing frozen or locked. A stop
// before the agent has enrolled is ctx's error. A restart may cure any other error.
func Run(ctx context.Context, config Config, options Options) error {
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if err := makeDirs(config); err != nil {
		return err
	}
	var p *parts
	enroller, err := enroll.New(enroll.Config{StateDir: config.StateDir, JoinFile: config.JoinFile,
		Metadata: config.EC2Metadata,
		Changed:  func(ctx context.Context) error { return p.refreshCertificate(ctx) },
		Logger:   options.Log})
	if err != nil {
		return err
	}
	p, err = build(config, options.Program, enroller.MariaDBFiles(), options.Log)
	if err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	defer p.close(options.Log)
	p.renewal = enroller.Late
	d := &runner{config: config, options: options, parts: p, enroller: enroller,
		say: supervisor{options.Log}}
	return d.run(ctx)
}

// Renew renews the host's certificates now, and answers with the addresses of the control plane
// that it renews at. A running agent uses them from its next connection on, MariaDB at once.
func Renew(ctx context.Context, config Config, log *slog.Logger) ([]string, error) {
	p, enroller, err := open(config, installed, log)
	if err != nil {
		return nil, err
	}
	defer p.close(log)
	if err := enroller.Renew(ctx); err != nil {
		return nil, err
	}
	if err := p.refreshCertificate(ctx); err != nil {
		return nil, err
	}
	addresses, _, err := enroller.ControlPlane()
	return addresses, err
}

// runner is one run of the agent.
type runner struct {
	config   Config
	options  Options
	parts    *parts
	enroller *enroll.Enroller
	say      supervisor
	source   atomic.Pointer[identity.Files] // once the agent has enrolled
	trail    *trail.Trail
	audit    *audit.Log
	grants   *grants.List
}

func (d *runner) run(ctx context.Context) error {
	watched, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() { d.serveMetrics(watched) })
	name, err := d.enrol(ctx)
	if errors.Is(err, context.Canceled) {
		return ctx.Err() // stopped before there was anything to end
	}
	if err != nil {
		return err
	}
	source, err := identity.NewFiles(d.enroller.Files())
	if err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", d.config.Listen)
	if err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	server, local, err := d.servers(ctx, name, source, listener)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot start the agent: %w", err), listener.Close())
	}
	d.source.Store(source)
	d.parts.quiesce.Find()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	if local != nil {
		group.Go(func() error { return local.Run(ctx) })
	}
	group.Go(func() error { return d.enroller.Run(ctx) })
	group.Go(func() error { d.grants.Run(ctx, loop.NewSet(d.options.Log)); return nil })
	group.Go(func() error {
		d.parts.resume(ctx, d.options.Log)
		d.parts.mariadb.Reservations.Keep(ctx, loop.NewSet(d.options.Log))
		return nil
	})
	group.Go(func() error {
		d.parts.mariadb.Replica.Repair(ctx, loop.NewSet(d.options.Log), d.parts.mariadbRuns)
		return nil
	})
	group.Go(func() error {
		d.parts.sampler.Run(ctx)
		return nil
	})
	group.Go(func() error {
		d.parts.marks.Run(ctx)
		return nil
	})
	group.Go(func() error { return d.announce(ctx, name, source, listener.Addr()) })
	group.Go(func() error { <-ctx.Done(); d.say.stopping(); return nil })
	defer d.endAudit(context.WithoutCancel(ctx))
	return group.Wait()
}

// endAudit writes what is still to be written when no call is left.
func (d *runner) endAudit(ctx context.Context) {
	d.audit.Flush(ctx)
	if err := d.trail.Close(); err != nil {
		d.options.Log.Warn("cannot close the audit", "error", err)
	}
}

// routine are calls that the control plane makes all the time and that change little: most of them
// are counted.
func routine() map[string]time.Duration {
	return map[string]time.Duration{
		agentv1.MariaDBService_ConfirmHistory_FullMethodName: time.Hour,
		agentv1.HostService_SetDenyList_FullMethodName:       time.Hour,
	}
}

// enrol waits until this host has an identity. What keeps it from one is logged once, and shown as
// the unit's status.
func (d *runner) enrol(ctx context.Context) (string, error) {
	logged := ""
	for {
		d.say.status("enrolling")
		name, err := d.enroller.Ensure(ctx)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err == nil {
			return name, nil
		}
		if err.Error() != logged {
			logged = err.Error()
			d.options.Log.Error("cannot enrol yet", "error", err, "hint", errs.HintOf(err).String())
		}
		d.say.status("not enrolled: %v", err)
		if err := awaitChange(ctx, d.config.JoinFile, joinRetry); err != nil {
			return "", err
		}
	}
}

// servers are that of the network, and that on the socket or nil.
func (d *runner) servers(ctx context.Context, name string, source identity.Source,
	listener net.Listener) (server, local *chassis.Server, err error) {
	epochs, err := fencing.Open(epochsFile(d.config))
	if err != nil {
		return nil, nil, err
	}
	if d.trail, err = trail.Open(filepath.Join(d.config.StateDir, "audit"), name); err != nil {
		return nil, nil, err
	}
	d.audit, err = audit.New(audit.Config{Sink: d.trail, Key: d.trail.Key(), Logger: d.options.Log,
		Routine: routine(),
		Releases: []string{agentv1.MariaDBService_EndQuiesce_FullMethodName,
			agentv1.HostService_SetGrants_FullMethodName}}) // a grant ends on a full disk too
	if err != nil {
		return nil, nil, err
	}
	allowed, err := Rules()
	if err != nil {
		return nil, nil, err
	}
	denied, err := denylist.Open(denyFile(d.config))
	if err != nil {
		return nil, nil, err
	}
	d.grants = grants.New(name, d.options.Log)
	common := chassis.Config{Rules: allowed, Logger: d.options.Log, Audit: d.audit,
		Admit: admission(d.grants), Checks: []chassis.Check{epochs.Check},
		Deadline: longCall, Grace: stopGrace}
	remote := common
	remote.Listener = listener
	remote.TLS = identity.ServerConfig{Source: source, Revoked: denied.Denied}
	if server, err = chassis.New(remote); err != nil {
		return nil, nil, err
	}
	if local, err = d.openSocket(ctx, common); err != nil {
		return nil, nil, err
	}
	d.parts.server.Store(server)
	d.parts.local.Store(local)
	all := chassis.Both{server}
	if local != nil {
		all = append(all, local)
	}
	d.parts.register(all, name, d.options.Version, d.enroller, epochs,
		told{denied, d.grants}, d.options.Log)
	all.RegisterService(&agentv1.AuditService_ServiceDesc,
		auditservice.New(d.trail, epochs.Newest))
	return server, local, nil
}

// announce says that the agent is ready once it answers itself, and keeps systemd's watchdog
// content while it does.
func (d *runner) announce(ctx context.Context, name string, source identity.Source,
	address net.Addr) error {
	self, err := newSelfCheck(name, source, address)
	if err != nil {
		return err
	}
	defer self.close()
	if !self.await(ctx) {
		return nil
	}
	d.say.ready()
	d.say.status("serving as %s on %s", name, address)
	d.options.Log.Info("ready", "server", name, "address", address.String(), "version",
		d.options.Version)
	if d.options.Ready != nil {
		d.options.Ready(address.String())
	}
	return d.say.watchdog(ctx, self.check)
}
