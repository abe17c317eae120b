package app

import (
	"context"
	"crypto/tls"
	"errors"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/fleet"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/observe"
	"github.com/understudy-db/understudy/controlplane/internal/proof"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	auditservice "github.com/understudy-db/understudy/controlplane/internal/service/audit"
	"github.com/understudy-db/understudy/controlplane/internal/service/controlplane"
	"github.com/understudy-db/understudy/controlplane/internal/service/enrollment"
	jobservice "github.com/understudy-db/understudy/controlplane/internal/service/job"
	providerservice "github.com/understudy-db/understudy/controlplane/internal/service/provider"
	"github.com/understudy-db/understudy/controlplane/internal/service/scope"
	serverservice "github.com/understudy-db/understudy/controlplane/internal/service/server"
	snapshotservice "github.com/understudy-db/understudy/controlplane/internal/service/snapshot"
	"github.com/understudy-db/understudy/controlplane/internal/sweep"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Rules says who may call which method of the control plane.
func Rules() (authz.Table, error) {
	return authz.Merge(serverservice.Rules(), snapshotservice.Rules(), jobservice.Rules(),
		providerservice.Rules(), enrollment.Rules(), controlplane.Rules(),
		auditservice.Rules())
}

func (a *App) openServer(ctx context.Context) error {
	source, err := identity.NewFiles(a.filesOf(0))
	if err != nil {
		return err
	}
	rules, err := Rules()
	if err != nil {
		return err
	}
	a.metrics.MustRegister(a.alarms, observe.NewRecords(observe.Config{Store: a.st, Jobs: a.engine,
		Shown:  a.monitor.Shown,
		Latest: a.monitor.Latest, Proofs: a.verifier.Coverage,
		Loops: a.loops, Root: ca.NewRotation(a.registry).RootExpires,
		Certificate: func() (*tls.Certificate, error) {
			own, err := source.Credentials()
			if err != nil {
				return nil, err
			}
			return own.Certificate, nil
		}}))
	a.server, err = chassis.New(chassis.Config{
		Listener: a.listener, Rules: rules, Logger: a.log, Metrics: a.metrics, Audit: a.audit,
		TLS: identity.ServerConfig{Source: source, AllowAnonymous: true,
			Revoked: a.registry.Denied},
	})
	if err != nil {
		return err
	}
	if err := a.openBreakGlass(ctx, rules); err != nil {
		return err
	}
	if a.local == nil {
		return a.register(a.server)
	}
	return a.register(chassis.Both{a.server, a.local})
}

// guard holds operators who work with some servers alone to these.
func (a *App) guard() *scope.Guard {
	records := query.Servers{Store: a.st}
	return scope.New(scope.Config{Scope: a.registry.Scope, Job: a.engine.Get,
		Source: func(ctx context.Context, snapshot string) (string, error) {
			found, err := query.Snapshots{Store: a.st}.Get(ctx, snapshot)
			return found.Server, err
		},
		Primary: func(ctx context.Context, server string) (string, error) {
			found, err := records.Get(ctx, server)
			if errors.Is(err, inventory.ErrNotFound) {
				return "", nil
			}
			return found.Primary, err
		}})
}

// servers are the records of servers, and what is known of them beside.
type servers struct {
	*fleet.Purging
	*fleet.Monitor
	*fleet.Announcer
	*proof.Verifier
}

// register adds all services.
func (a *App) register(to grpc.ServiceRegistrar) error {
	to = a.guard().Around(to)
	start := starter{Kit: a.work, engine: a.engine, st: a.st}
	onServers, err := serverservice.New(serverservice.Config{Records: servers{
		fleet.NewPurging(query.Servers{Store: a.st, Shown: a.monitor.Shown}, a.agents), a.monitor,
		a.announcer, a.verifier}, Jobs: start})
	if err != nil {
		return err
	}
	onSnapshots, err := snapshotservice.New(snapshotservice.Config{
		Records: query.Snapshots{Store: a.st}, Jobs: start})
	if err != nil {
		return err
	}
	onJobs, err := jobservice.New(jobservice.Config{
		Engine: a.engine, Events: query.Events{Store: a.st},
		Cleanups: a.work,
	})
	if err != nil {
		return err
	}
	sweeper, err := sweep.New(sweep.Config{Cloud: a.cloud,
		Jobs:   query.PastJobs{Jobs: a.engine, Events: query.Events{Store: a.st}},
		Owners: query.Owners{Store: a.st},
		Audit:  query.Events{Store: a.st}, Fleet: a.cfg.Fleet, Log: a.log})
	if err != nil {
		return err
	}
	onProvider, err := providerservice.New(providerservice.Config{Cloud: a.cloud, Checker: a.cloud,
		Owners: query.Owners{Store: a.st}, Sweeper: sweeper, Audit: query.Events{Store: a.st}})
	if err != nil {
		return err
	}
	onEnrollment, err := enrollment.New(enrollment.Config{Registry: a.registry,
		Authority: ca.NewRotation(a.registry), Agents: a.agents,
		Servers: query.Servers{Store: a.st}, Operators: query.Operators{Store: a.st},
		Tokens: query.Tokens{Store: a.st}, Grants: query.Grants{Store: a.st},
		Granting: ca.NewGranting(a.registry),
		Deliver:  a.granter.Deliver, Logins: a.logins,
		LoggingIn: ca.NewLoggingIn(a.registry)})
	if err != nil {
		return err
	}
	onAudit, err := auditservice.New(a.trail)
	if err != nil {
		return err
	}
	cpv1.RegisterAuditServiceServer(to, onAudit)
	cpv1.RegisterServerServiceServer(to, onServers)
	cpv1.RegisterSnapshotServiceServer(to, onSnapshots)
	cpv1.RegisterJobServiceServer(to, onJobs)
	cpv1.RegisterProviderServiceServer(to, onProvider)
	cpv1.RegisterEnrollmentServiceServer(to, onEnrollment)
	cpv1.RegisterControlPlaneServiceServer(to, &controlplane.Service{Version: a.cfg.Version})
	return nil
}
