package workflow

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const threadsTimeout = time.Minute

// pair is a replica that is being made, up and serving, and its primary.
type pair struct {
	*host
	st      replication.Status // of the replica, looked at in this step
	primary *node
	want    replication.Want
}

// pair makes sure that the replica's MariaDB serves and that its primary's answers: no statement is
// sent to one that did not.
func (s *step) pair(ctx context.Context) (*pair, error) {
	h, err := s.host(ctx)
	if err != nil {
		return nil, err
	}
	st, err := s.ensureServing(ctx, h)
	if err != nil {
		return nil, err
	}
	p, err := s.serving(ctx, h.srv.Primary)
	if err != nil {
		return nil, err
	}
	if err := s.keepBinlogs(ctx, p); err != nil {
		return nil, err
	}
	if err := aloneWithID(h.srv, p.status); err != nil {
		return nil, err
	}
	return &pair{host: h, st: st, primary: p, want: replication.Want{
		ServerID: h.srv.ServerID, Account: accountOf(h.srv.Name), PrimaryHost: p.srv.Address,
		PrimaryPort: p.srv.Port, AutoStart: true,
	}}, nil
}

// look observes the replica anew and returns its connection to the primary.
func (s *step) look(ctx context.Context,
	p *pair) (conn replication.Connection, ok bool, err error) {
	if p.st, err = s.ensureServing(ctx, p.host); err != nil {
		return conn, false, err
	}
	conn, ok = replication.Find(p.st.Connections, p.want.Account)
	return conn, ok, nil
}

// prepareReplica takes the source's replication away, sets the position once, and gives the replica
// its account on the primary.
func (s *step) prepareReplica(ctx context.Context) (outcome, error) {
	p, err := s.pair(ctx)
	if err != nil {
		return outcome{}, err
	}
	if conn, ok := replication.Find(p.st.Connections, p.want.Account); ok && p.want.Fits(conn) {
		s.Found("%s is set up as a replica of %s already", p.srv.Name, p.primary.srv.Name)
		return done(nil)
	}
	if err := s.checkRecovered(p.host, p.st); err != nil {
		return outcome{}, err
	}
	point := pointOf(p.snap.Testimony, p.snap.Mode)
	r, err := p.agent.PrepareReplica(ctx, PrepareReplica{
		GTID: point.Low, GTIDUpper: point.High, SourceReplica: point.OfReplica,
		ServerID: p.srv.ServerID, Fence: s.fence(),
	})
	if err != nil {
		return outcome{}, fmt.Errorf("cannot prepare %s: %w", p.srv.Name, err)
	}
	s.Found("replication starts from %s", or(r.RecoveredGTID, "(empty)"))
	s.changed(p.srv.Name, r.Changes)
	// Nobody needs to know this password: the one that the replica gets is made when it is
	// configured.
	return outcome{verdict: verdictDone}, s.ensureAccount(ctx, p, NewSecret())
}

func (s *step) ensureAccount(ctx context.Context, p *pair, password Secret) error {
	changes, err := p.primary.agent.EnsureReplicationAccount(ctx, ReplicationAccount{
		User: p.want.Account, Host: accountHost, Password: password, RequireTLS: true,
		Fence: s.fence(),
	})
	if err != nil {
		return fmt.Errorf("cannot make the account of %s on %s: %w", p.srv.Name, p.primary.srv.Name,
			err)
	}
	s.changed("account "+p.want.Account+" on "+p.primary.srv.Name, changes)
	return nil
}

// configureReplica points the replica to its primary, by GTID over TLS. Settings that are right are
// left alone.
func (s *step) configureReplica(ctx context.Context) (outcome, error) {
	p, err := s.pair(ctx)
	if err != nil {
		return outcome{}, err
	}
	conn, ok := replication.Find(p.st.Connections, p.want.Account)
	if err := s.stopAutoPurge(ctx, p.primary); err != nil {
		return outcome{}, err
	}
	if ok && p.want.Fits(conn) && replication.Diagnose(conn).Threads != replication.AccountRefused {
		s.Found("%s follows %s:%d by GTID over TLS", p.srv.Name, conn.PrimaryHost, conn.PrimaryPort)
		return done(s.recordReplica(p))
	}
	if err := s.connect(ctx, p, ok); err != nil {
		return outcome{}, err
	}
	return done(s.recordReplica(p))
}

// connect gives the account a fresh password on both sides, which nobody keeps, and points the
// replica to the primary.
func (s *step) connect(ctx context.Context, p *pair, configured bool) error {
	if configured {
		if _, err := p.agent.StopReplication(ctx, false, threadsTimeout, s.fence()); err != nil {
			return err
		}
	}
	if !configured { // the position must be right before the first connection
		point := pointOf(p.snap.Testimony, p.snap.Mode)
		if _, err := p.agent.PrepareReplica(ctx, PrepareReplica{
			GTID: point.Low, GTIDUpper: point.High, SourceReplica: point.OfReplica,
			ServerID: p.srv.ServerID, Fence: s.fence(),
		}); err != nil {
			return fmt.Errorf("cannot prepare %s: %w", p.srv.Name, err)
		}
	}
	password := NewSecret()
	if err := s.ensureAccount(ctx, p, password); err != nil {
		return err
	}
	changes, err := p.agent.ConfigureReplica(ctx, ConfigureReplica{
		PrimaryHost: p.want.PrimaryHost, PrimaryPort: p.want.PrimaryPort, User: p.want.Account,
		Password: password, TLS: true, Force: true,
		Fence: s.fence(),
	})
	if err != nil {
		return fmt.Errorf("cannot point %s to %s: %w", p.srv.Name, p.primary.srv.Name, err)
	}
	s.changed(p.srv.Name, changes)
	return nil
}

// recordReplica records that replication is configured; binlog auto purge goes in the same
// transaction, on both sides.
func (s *step) recordReplica(p *pair) commit {
	name, primary := p.srv.Name, p.primary.srv.Name
	become := s.updateServer(name,
		func(srv *inventory.Server) error { return srv.BecomeReplica(primary, nil) },
		"replication from %s is configured", primary)
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, name)
		if err != nil {
			return err
		}
		if !srv.ReplicationConfigured || srv.Primary != primary || srv.BinlogAutoPurge {
			if err := become(ctx, rec); err != nil {
				return err
			}
		}
		return s.gainReplica(ctx, rec, primary)
	}
}

// startReplica makes both threads run.
func (s *step) startReplica(ctx context.Context) (outcome, error) {
	p, err := s.pair(ctx)
	if err != nil {
		return outcome{}, err
	}
	if err := s.ensureReplicating(ctx, p); err != nil {
		return outcome{}, err
	}
	s.Found("both threads run")
	return done(nil)
}

// ensureReplicating makes both threads run, mending what can be mended: stopped or killed threads,
// a refused account.
func (s *step) ensureReplicating(ctx context.Context, p *pair) error {
	for tries := 0; ; tries++ {
		conn, ok, err := s.look(ctx, p)
		if err != nil {
			return err
		}
		v := replication.Verdict{Threads: replication.Absent}
		if ok {
			v = replication.Diagnose(conn)
		}
		switch {
		case v.Threads == replication.Running:
			return nil
		case tries == 3:
			return fmt.Errorf("replication on %s does not stay up: %s", p.srv.Name, v)
		}
		if err := s.mend(ctx, p, v); err != nil {
			return err
		}
	}
}

// mend does the one thing that helps against what keeps the threads from running, or refuses with
// MariaDB's own words.
func (s *step) mend(ctx context.Context, p *pair, v replication.Verdict) error {
	switch v.Threads {
	case replication.Running:
		return nil
	case replication.Connecting:
		if st, err := p.primary.agent.Status(ctx); err == nil {
			if err := aloneWithID(p.srv, st); err != nil {
				return err
			}
		}
		return wait("%s cannot connect to %s yet: %s", p.srv.Name, p.primary.srv.Name, v)
	case replication.Absent, replication.AccountRefused:
		if v.Threads == replication.AccountRefused {
			s.Found("%s refused the account: %s", p.primary.srv.Name, v)
		}
		if err := s.connect(ctx, p, v.Threads == replication.AccountRefused); err != nil {
			return err
		}
	case replication.BinlogsGone:
		return refuse(errorsv1.Reason_REASON_BINLOGS_PURGED, "remove it (`understudy job cleanup "+
			"JOB`) and make the replica from a new snapshot (`understudy replica create --of`)",
			"%s cannot replicate: %s", p.srv.Name, v)
	case replication.ServerIDTaken:
		return idTaken(p.srv, v.String())
	case replication.Broken:
		return refuse(errorsv1.Reason_REASON_REPLICATION_ERROR, "the replica's data do not fit "+
			"the primary's events: remove it (`understudy job cleanup JOB`) and make it again "+
			"from a new snapshot",
			"replication on %s is broken: %s", p.srv.Name, v)
	}
	return s.startThreads(ctx, p, v)
}

// aloneWithID refuses while another replica is connected to the primary under the server's
// server_id. The primary lets one of them in at a time, in turns for ever, and none of them sees an
// error.
func aloneWithID(srv inventory.Server, primary replication.Status) error {
	if other, taken := primary.Namesake(srv.ServerID, srv.Name, srv.Address); taken {
		return idTaken(srv, "the replica "+other.Host+" is connected with it")
	}
	return nil
}

func idTaken(srv inventory.Server, why string) error {
	return refuse(errorsv1.Reason_REASON_SERVER_ID_TAKEN, "find the server that uses it (SHOW "+
		"SLAVE HOSTS on the primary), give it another one, then `understudy job retry JOB`",
		"server_id %d of %s is in use by another server: %s", srv.ServerID, srv.Name, why)
}

// startThreads starts what is stopped. An error of the agent is looked at, not believed: the
// replica's own status says what it means.
func (s *step) startThreads(ctx context.Context, p *pair, before replication.Verdict) error {
	_, changed, err := p.agent.StartReplication(ctx, "", threadsTimeout, s.fence())
	switch {
	case changed && s.Step == "verify": // it had stopped it
		s.Found("replication on %s goes on", p.srv.Name)
	case changed:
		s.Changed("started replication on %s (%s)", p.srv.Name, before)
	}
	if err == nil || isReason(err, errorsv1.Reason_REASON_REPLICATION_ERROR) {
		return nil
	}
	return fmt.Errorf("cannot start replication on %s: %w", p.srv.Name, err)
}
