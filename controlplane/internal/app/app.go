package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/controlplane/internal/agentpool"
	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/fleet"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/observe"
	"github.com/understudy-db/understudy/controlplane/internal/proof"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/service/enrollment"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/trail"
	"github.com/understudy-db/understudy/controlplane/internal/workflow"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/stored"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/telemetry"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// networkLimit is how long the provider may take at the start to say where its network is.
const networkLimit = time.Minute

// wakeLimit is how long the record of a server that enrolled may take to be read.
const wakeLimit = 10 * time.Second

// App is a control plane. Make one with New, then Run it, or Close it.
type App struct {
	cfg      Config
	log      *slog.Logger
	st       *store.Store
	cloud    Provider
	dev      Dev
	registry *ca.Registry
	agents   Agents
	engine   *job.Engine[kit.Records]
	work     *kit.Kit
	server   *chassis.Server
	local    *chassis.Server // break-glass; nil without its socket
	trail    *trail.Trail
	audit    *audit.Log
	metrics  *prometheus.Registry
	loops    *loop.Set
	jobs     *observe.Jobs
	alarms   *prometheus.CounterVec
	monitor  *fleet.Monitor
	verifier *proof.Verifier
	// logins knows with whose accounts operators log in; nil when nobody does.
	logins enrollment.Logins
	// announcer tells agents advertise, the addresses of this control plane.
	announcer *fleet.Announcer
	advertise []string
	// fetcher brings the audits of agents into the store.
	fetcher *trail.Fetcher
	// accessEnder ends what replicas whose agents were revoked read of their primaries.
	accessEnder *fleet.AccessEnder
	// renewer has agents renew their certificates while the root is being replaced.
	renewer *fleet.Renewer
	// denier tells agents who was revoked, and granter who may change them.
	denier  *fleet.Teller
	granter *fleet.Granter

	listener        net.Listener
	metricsListener net.Listener
	address         string
	closers         []func() error
	closed          sync.Once
}

// Dev is what only `understudy serve --dev` and tests have; the zero value is a product.
type Dev struct {
	// Provider replaces the one that the configuration names.
	Provider Provider
	// Agents replace those that the servers have.
	Agents Agents
	// Poll is how soon a step that waits looks again; as kit.Config has it.
	Poll time.Duration
	// Confirm is how often histories of binary logs are confirmed; as fleet.MonitorConfig has it.
	Confirm time.Duration
	// Failpoints makes the hooks that break this process: at a point of a step, and before a call
	// to an agent. quietly runs a function while this process writes nothing.
	Failpoints func(quietly func(context.Context, func()) error) (atStep func(point job.Point, job,
		step string), beforeCall func(method string))
}

// Agents are the agents of all servers. *agentpool.Pool are those of real ones.
type Agents interface {
	kit.Agents
	fleet.Agents
	enrollment.Agents
	// Announce tells a server's agent the addresses of this control plane.
	Announce(ctx context.Context, server string, addresses []string) error
	// Deny tells a server's agent which certificates to refuse.
	Deny(ctx context.Context, server string, list ca.DenyList) error
	// Grant tells a server's agent which operators may make changing calls on it, and answers with
	// the grants that are in force there.
	Grant(ctx context.Context, server string, list ca.GrantList) (inForce []string, err error)
	trail.Agents
}

// New puts a control plane together: it makes the state directory with its store, its CA and the
// operator's credentials where they are not there yet, and opens its addresses. Two first starts at
// one time end up with the same. Nothing runs until Run.
func New(ctx context.Context, cfg Config, log *slog.Logger, dev Dev) (*App, error) {
	a := &App{cfg: cfg, log: log, cloud: dev.Provider, dev: dev, loops: loop.NewSet(log),
		alarms: observe.NewAlarms(ca.AlarmActions()...)}
	if a.cloud == nil {
		var err error
		if a.cloud, err = openProvider(ctx, cfg, log); err != nil {
			return nil, err
		}
	}
	for _, build := range []func(context.Context) error{a.openState, a.openNetwork, a.openIdentity,
		a.openAudit, a.openJobs, a.openServer} {
		if err := build(ctx); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	return a, nil
}

// Logger is the log that the configuration asks for. The environment says whether out is systemd's
// journal.
func Logger(cfg Config, out io.Writer, environ []string) *slog.Logger {
	level, err := cfg.level()
	if err != nil {
		level = slog.LevelInfo // Load has checked it
	}
	return telemetry.NewLogger(out, telemetry.LogConfig{Level: level, JSON: cfg.LogFormat == "json",
		Journal: telemetry.ToJournal(out, environ)})
}

// Address is the first address that it serves on.
func (a *App) Address() string { return a.listener.Addr().String() }

// Close gives up what New opened. It is not needed after Run. Closing twice is fine.
func (a *App) Close() error {
	var faults []error
	a.closed.Do(func() {
		for i := len(a.closers) - 1; i >= 0; i-- {
			faults = append(faults, a.closers[i]())
		}
	})
	return errors.Join(faults...)
}

func (a *App) openState(ctx context.Context) error {
	if err := os.MkdirAll(a.cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("cannot make the state directory: %w", err)
	}
	config, err := a.cfg.store(a.log)
	if err != nil {
		return err
	}
	a.st, err = store.Open(ctx, config)
	if errors.Is(err, job.ErrUnavailable) {
		return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE, "cannot start",
			errs.Wrap(err),
			errs.WithHint("see that the store's disk has room, that the MariaDB of store_dsn_file "+
				"answers, and that no other control plane on this store hangs or is stopped: it "+
				"may hold the store's lock; then start again"))
	}
	if errors.Is(err, store.ErrDamaged) {
		return unusable(err, "restore the newest backup: move "+a.cfg.StateDir+
			" away, then understudy restore")
	}
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.st.Close)
	return nil
}

// openNetwork opens the addresses to serve on, the provider's own network among them.
func (a *App) openNetwork(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, networkLimit)
	defer cancel()
	host, err := a.cloud.HostAddress(bounded)
	if err != nil {
		a.log.Error("the provider's network is not there, so machines cannot reach this control "+
			"plane; check the provider, then start it again",
			"error", err)
		host = ""
	}
	opened, err := listen(ctx, withProvider(a.cfg.Listen, host), a.log)
	if err != nil {
		return err
	}
	a.listener, a.address = opened, host
	a.closers = append(a.closers, opened.Close)
	if a.cfg.Metrics == "off" {
		return nil
	}
	a.metricsListener, err = new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.Metrics)
	if err != nil {
		// A second control plane on this box has to be able to run; what it does is more than what
		// it counts.
		a.log.Warn("metrics are not served", "error", err)
		a.metricsListener = nil
		return nil
	}
	a.closers = append(a.closers, func() error { return ignoreClosed(a.metricsListener.Close()) })
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (a *App) openIdentity(ctx context.Context) (err error) {
	a.advertise = a.cfg.Advertise
	if len(a.advertise) == 0 {
		a.advertise = reachable(a.cfg.Listen, a.address)
	}
	if a.logins, err = newLogins(a.cfg, a.log); err != nil {
		return err
	}
	attestor, err := newAttestor(a.cfg, a.cloud, a.log)
	if err != nil {
		return err
	}
	a.registry, err = newRegistry(ctx, a.cfg, a.st, a.advertise, a.enrolled,
		func(action string) { a.alarms.WithLabelValues(action).Inc() }, attestor, a.loops, a.log)
	return err
}

// enrolled wakes the job that waits for the server's agent.
func (a *App) enrolled(server string) {
	if a.denier != nil {
		a.denier.Forget(server)
		a.granter.Forget(server)
	}
	ctx, cancel := context.WithTimeout(context.Background(), wakeLimit)
	defer cancel()
	r, err := query.Servers{Store: a.st}.Get(ctx, server)
	if err == nil && r.Job != "" && a.engine != nil {
		a.engine.Wake(r.Job)
	}
}

func (a *App) openJobs(ctx context.Context) error {
	source, err := identity.NewFiles(a.filesOf(0))
	if err != nil {
		return err
	}
	var generation int64
	if err := a.st.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		generation, err = tx.Generation(ctx)
		return err
	}); err != nil {
		return err
	}
	var atStep func(job.Point, string, string)
	var beforeCall func(string)
	if a.dev.Failpoints != nil {
		atStep, beforeCall = a.dev.Failpoints(a.st.Quietly)
	}
	if a.agents = a.dev.Agents; a.agents == nil {
		pool, err := agentpool.New(agentpool.Config{
			Addresses: query.Servers{Store: a.st}, Source: source, Revoked: a.registry.Denied,
			Generation: generation,
			Logger:     a.log,
			BeforeCall: beforeCall,
		})
		if err != nil {
			return err
		}
		a.agents, a.closers = pool, append(a.closers, pool.Close)
	}
	if m, ok := a.cloud.(*byOperator); ok {
		m.hosts.open(query.Servers{Store: a.st}, a.agents)
	}
	records := stored.New(a.st)
	a.metrics = telemetry.NewRegistry("understudy", a.cfg.Version)
	if a.jobs, err = observe.NewJobs(a.metrics); err != nil {
		return err
	}
	if a.engine, err = job.New(job.Config[kit.Records]{Store: records, Logger: a.log,
		Hook: atStep, Observer: a.jobs, Loops: a.loops}); err != nil {
		return err
	}
	a.verifier = proof.New(proof.Config{Store: a.st, Agents: a.agents, Jobs: a.engine,
		Share: a.cfg.VerifyShare, MaxThreads: a.cfg.VerifyMaxThreads,
		Interval: a.cfg.VerifyInterval, Loops: a.loops, Log: a.log})
	a.monitor = fleet.NewMonitor(fleet.MonitorConfig{Store: a.st, Agents: a.agents,
		Differs: a.verifier.Differs, ProvedSince: a.verifier.ProvedSince,
		Reconnect: workflow.Reconnect, Remount: workflow.Remount, Account: kit.Account,
		Lost:       func(server string) { a.granter.Forget(server) },
		AccessOpen: func(server string) string { return a.accessEnder.Open(server) },
		Jobs:       a.engine, Beat: a.cfg.BeatInterval, UnreachableAfter: a.cfg.UnreachableAfter,
		DegradedAfter: a.cfg.DegradedAfter, Confirm: a.dev.Confirm,
		Loops: a.loops, Log: a.log})
	a.announcer = fleet.NewAnnouncer(fleet.AnnouncerConfig{Store: a.st,
		Announce: a.agents.Announce, Addresses: a.advertise, Log: a.log})
	a.accessEnder = fleet.NewAccessEnder(fleet.AccessEnderConfig{Store: a.st,
		Servers: a.monitor.Servers, End: a.endAccess, Log: a.log})
	a.renewer = fleet.NewRenewer(fleet.RenewerConfig{Lagging: a.lagging, Renew: a.renew,
		Log: a.log})
	a.granter = fleet.NewGranter(fleet.GranterConfig{Tell: a.agents.Grant,
		Servers: a.monitor.Servers, List: ca.NewGranting(a.registry).List, Log: a.log})
	a.denier = fleet.NewDenier(fleet.DenierConfig{Tell: a.agents.Deny,
		Servers: a.monitor.Servers, List: a.registry.DenyList, Log: a.log})
	a.fetcher = &trail.Fetcher{Trail: a.trail, Agents: a.agents}
	a.work, err = workflow.New(kit.Config{LastAudit: a.fetcher.Last,
		Agents: a.agents, Provider: a.cloud, Store: records, Tokens: a.registry,
		Jobs: a.engine, Fleet: a.cfg.Fleet, Logger: a.log,
		VolumeLimit: a.cfg.VolumeLimit, Poll: a.dev.Poll,
	})
	if err != nil {
		return err
	}
	for _, plan := range a.work.Plans() {
		if err := a.engine.Register(plan); err != nil {
			return err
		}
		a.jobs.Expect(plan.Kind)
	}
	return nil
}

// filesOf are the files of one of the kept identities.
func (a *App) filesOf(kept int) identity.FilesConfig {
	files := a.cfg.kept()[kept].Files()
	files.Logger = a.log
	return files
}

// Run serves, runs jobs and looks after servers until ctx ends, then ends calls and jobs in good
// order: a job goes on with the next start.
func (a *App) Run(ctx context.Context) error {
	defer a.Close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.server.Run(ctx) })
	if a.local != nil {
		group.Go(func() error { return a.local.Run(ctx) })
	}
	group.Go(func() error { return a.engine.Run(ctx) })
	group.Go(func() error { return a.registry.Run(ctx, a.cfg.kept()...) })
	group.Go(func() error { a.monitor.Run(ctx); return nil })
	group.Go(func() error { a.verifier.Run(ctx); return nil })
	group.Go(func() error { a.loops.Run(ctx, pruning, a.prune); return nil })
	group.Go(func() error { a.loops.Run(ctx, noting, a.trail.Note); return nil })
	group.Go(func() error { a.loops.Run(ctx, fetching, a.fetcher.Round); return nil })
	group.Go(func() error { a.loops.Run(ctx, announcing, a.announcer.Round); return nil })
	group.Go(func() error { a.loops.Run(ctx, endingAccess, a.accessEnder.Round); return nil })
	group.Go(func() error { a.loops.Run(ctx, renewing, a.renewer.Round); return nil })
	group.Go(func() error { a.denier.Run(ctx, a.loops); return nil })
	group.Go(func() error { a.granter.Run(ctx, a.loops); return nil })
	if a.metricsListener != nil {
		group.Go(func() error { return a.endpoint().Serve(ctx, a.metricsListener) })
	}
	a.notify(daemon.SdNotifyReady)
	a.log.Info("the control plane is up", "addresses", a.addresses(), "state_dir", a.cfg.StateDir,
		"operator", a.cfg.path("operator"))
	group.Go(func() error {
		<-ctx.Done()
		a.notify(daemon.SdNotifyStopping)
		return nil
	})
	err := group.Wait()
	a.endAudit(context.WithoutCancel(ctx))
	a.log.Info("the control plane has stopped")
	return err
}

func (a *App) addresses() []string { return withProvider(a.cfg.Listen, a.address) }

// notify tells systemd, if it started this process.
func (a *App) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.log.Warn("cannot tell systemd", "state", state, "error", err)
	}
}
