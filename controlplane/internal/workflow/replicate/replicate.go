package replicate

import (
	"cmp"
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// prepare takes the source's replication away, sets the position once, and gives the replica
// its account on the primary.
func (s *step) prepare(ctx context.Context, p *host.Pair) (kit.Outcome, error) {
	want := p.Want
	want.Certificate = false // how it signs in is set when it is configured
	if conn, ok := replication.Find(p.St.Connections, p.Want.Account); ok && want.Fits(conn) {
		s.Found("%s is set up as a replica of %s already", p.Srv.Name, p.Primary.Name)
		return kit.Done(nil)
	}
	if err := p.CheckRecovered(p.St); err != nil {
		return kit.Outcome{}, err
	}
	r, err := p.Prepare(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	s.Found("replication starts from %s", cmp.Or(r.RecoveredGTID, "(empty)"))
	s.ChangedAll(p.Srv.Name, r.Changes)
	// Nobody needs to know this password: one that the replica gets is made when it is configured.
	return kit.DoneUnless(p.EnsureAccount(ctx, kit.NewSecret()))
}

// configure points the replica to its primary, by GTID over TLS. Settings that are right are
// left alone.
func (s *step) configure(ctx context.Context, p *host.Pair) (kit.Outcome, error) {
	conn, ok := replication.Find(p.St.Connections, p.Want.Account)
	if err := host.StopAutoPurge(ctx, s.Call, p.Primary); err != nil {
		return kit.Outcome{}, err
	}
	if ok && p.Want.Fits(conn) && replication.Diagnose(conn).Threads != replication.AccountRefused {
		s.Found("%s follows %s:%d by GTID over TLS", p.Srv.Name, conn.PrimaryHost, conn.PrimaryPort)
		return kit.Done(s.recordReplica(p))
	}
	if err := p.Connect(ctx, ok); err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(s.recordReplica(p))
}

// recordReplica records that replication is configured; binlog auto purge goes in the same
// transaction, on both sides.
func (s *step) recordReplica(p *host.Pair) kit.Commit {
	name, primary := p.Srv.Name, p.Primary.Name
	become := s.UpdateServer(name,
		func(srv *inventory.Server) error { return srv.BecomeReplica(primary, nil) },
		"replication from %s is configured", primary)
	return func(ctx context.Context, rec kit.Records) error {
		srv, err := rec.Servers.Get(ctx, name)
		if err != nil {
			return err
		}
		if !srv.ReplicationConfigured || srv.Primary != primary || srv.BinlogAutoPurge {
			if err := become(ctx, rec); err != nil {
				return err
			}
		}
		return s.GainReplica(ctx, rec, primary)
	}
}

// start makes both threads run.
func (s *step) start(ctx context.Context, p *host.Pair) (kit.Outcome, error) {
	if err := p.EnsureReplicating(ctx); err != nil {
		return kit.Outcome{}, err
	}
	s.Found("both threads run")
	return kit.Done(nil)
}

// catchUp passes a target position: one that the primary reached after replication had started.
func (s *step) catchUp(ctx context.Context, p *host.Pair) (kit.Outcome, error) {
	target, err := p.PassTarget(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	s.Found("passed the target position %s", target)
	return kit.Done(nil)
}
