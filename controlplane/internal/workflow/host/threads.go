package host

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const threadsTimeout = time.Minute

// Pair is a replica, up and serving, and its primary.
type Pair struct {
	*Host
	St      replication.Status // of the replica, observed in this step
	Primary *kit.Node
	Want    replication.Want
	Paused  bool // this step stopped replication, and starts it again

	// signsIn: this step sets the credentials also of a replica that another job made.
	signsIn bool
	account kit.ReplicationAccount // that this step made, on the primary
}

// Pair makes sure that the replica's MariaDB serves and that its primary's answers: no statement is
// sent to one that did not.
func (h *Host) Pair(ctx context.Context) (*Pair, error) {
	st, err := h.EnsureServing(ctx)
	if err != nil {
		return nil, err
	}
	p, err := h.Serving(ctx, h.Srv.Primary)
	if err != nil {
		return nil, err
	}
	if !h.observing {
		_, replicates := replication.Find(st.Connections, kit.Account(h.Srv.Name))
		if err := KeepBinlogs(ctx, h.Call, h.Asked, p, replicates); err != nil {
			return nil, err
		}
	}
	if err := aloneWithID(h.Srv, p.Status); err != nil {
		return nil, err
	}
	pair := &Pair{Host: h, St: st, Primary: p, Want: replication.Want{
		ServerID: h.Srv.ServerID, Account: kit.Account(h.Srv.Name), PrimaryHost: p.Address,
		PrimaryPort: p.Port, AutoStart: true,
		Certificate: st.Certificate.Server == h.Srv.Name && p.Status.TakesCertificates &&
			(st.Certificate.Generation == "" || p.Status.TakesGenerations),
	}}
	if err := pair.sameHistory(); err != nil {
		return nil, err
	}
	return pair, pair.lossless()
}

// verdict is what the latest observation says of the replica's threads.
func (p *Pair) verdict() replication.Verdict {
	conn, ok := replication.Find(p.St.Connections, p.Want.Account)
	if !ok {
		return replication.Verdict{Threads: replication.Absent}
	}
	return replication.Diagnose(conn)
}

// Prepare proves the copy's recovered position, removes the source's replication and sets the
// position that replication starts from.
func (p *Pair) Prepare(ctx context.Context) (kit.PreparedReplica, error) {
	point := pointOf(p.Snap)
	r, err := p.Agent.PrepareReplica(ctx, kit.PrepareReplica{
		GTID: point.Low, GTIDUpper: point.High, SourceReplica: point.OfReplica,
		ServerID: p.Srv.ServerID, Token: p.FencingToken(),
	})
	if err != nil {
		return r, fmt.Errorf("cannot prepare %s: %w", p.Srv.Name, err)
	}
	return r, nil
}

// Stop stops both replication threads, or the SQL thread alone. It waits for a transaction that is
// being undone, however long that takes.
func (p *Pair) Stop(ctx context.Context, sqlOnly bool) error {
	_, err := p.Agent.StopReplication(ctx, sqlOnly, threadsTimeout, p.FencingToken())
	if notYet(ctx, err) {
		return kit.Wait("replication on %s is still stopping", p.Srv.Name)
	}
	if err != nil {
		return fmt.Errorf("cannot stop replication on %s: %w", p.Srv.Name, err)
	}
	p.Paused = true
	return nil
}

// EnsureAccount makes the replica's account on its primary, which demands the replica's
// certificate or, where that cannot be, has the password. A step that signs the replica in keeps
// those for other hosts until it has signed in.
func (p *Pair) EnsureAccount(ctx context.Context, password kit.Secret) error {
	if !p.Srv.AccessRevoked.IsZero() {
		return kit.Wait("the account of %s on %s is still to be dropped: its agent was revoked",
			p.Srv.Name, p.Primary.Name)
	}
	account := kit.ReplicationAccount{User: p.Want.Account, Host: kit.AnyHost, Password: password,
		KeepOthers: p.signsIn, Token: p.FencingToken()}
	if p.Want.Certificate {
		account.Host, account.Server, account.Password = p.comesFrom(), p.Srv.Name, kit.Secret{}
		account.Generation = p.St.Certificate.Generation
	}
	p.account = account
	return p.ensureAccount(ctx, account)
}

func (p *Pair) ensureAccount(ctx context.Context, account kit.ReplicationAccount) error {
	changes, err := p.Primary.Agent.EnsureReplicationAccount(ctx, account)
	if err != nil {
		return fmt.Errorf("cannot make the account of %s on %s: %w", p.Srv.Name, p.Primary.Name,
			err)
	}
	p.ChangedAll("account "+p.Want.Account+" on "+p.Primary.Name, changes)
	return nil
}

// refusedFrom finds where a refused replica comes from, as its primary sees it.
var refusedFrom = regexp.MustCompile(`'@'([^']+)'|[Hh]ost '([^']+)'`)

// comesFrom is the address that the replica connects from: the one on record, unless the primary
// refused another one: then that, as behind a gateway, or any where the refusal tells a name, which
// the primary may not resolve later. The certificate guards the account anyway.
func (p *Pair) comesFrom() string {
	if conn, ok := replication.Find(p.St.Connections, p.Want.Account); ok &&
		replication.Diagnose(conn).Threads == replication.AccountRefused {
		if found := refusedFrom.FindStringSubmatch(conn.IOError); found != nil {
			if ip := net.ParseIP(found[1] + found[2]); ip != nil {
				return ip.String()
			}
			return kit.AnyHost
		}
	}
	if ip := net.ParseIP(p.Srv.Address); ip != nil {
		return ip.String()
	}
	return kit.AnyHost
}

// Connect makes the account and points the replica to the primary. The replica signs in with its
// certificate; where that cannot be, with a fresh password on both sides, which nobody keeps.
func (p *Pair) Connect(ctx context.Context, configured bool) error {
	if configured {
		if err := p.Stop(ctx, false); err != nil {
			return err
		}
	} else if _, err := p.Prepare(ctx); err != nil {
		return err // the position must be right before the first connection
	}
	to := kit.ConfigureReplica{PrimaryHost: p.Want.PrimaryHost, PrimaryPort: p.Want.PrimaryPort,
		User: p.Want.Account, TLS: true, Certificate: p.Want.Certificate, Token: p.FencingToken()}
	if !to.Certificate {
		to.Password, to.Force = kit.NewSecret(), true
	}
	if err := p.EnsureAccount(ctx, to.Password); err != nil {
		return err
	}
	changes, err := p.Agent.ConfigureReplica(ctx, to)
	if err != nil {
		return fmt.Errorf("cannot point %s to %s: %w", p.Srv.Name, p.Primary.Name, err)
	}
	if p.signsIn && !to.Certificate {
		p.Keep(keptPassword, signingIn{p.account})
	}
	p.ChangedAll(p.Srv.Name, changes)
	return nil
}

// CheckRunning refuses a replica whose threads do not both run, and waits for one that connects by
// itself, as after a restart of its primary. It changes nothing.
func (p *Pair) CheckRunning() error {
	switch v := p.verdict(); v.Threads {
	case replication.Running:
		p.Found("%s replicates from %s", p.Srv.Name, p.Primary.Name)
		return nil
	case replication.Connecting:
		return p.connecting(v)
	default:
		return p.notReplicating(v)
	}
}

func (p *Pair) connecting(v replication.Verdict) error {
	return kit.Wait("%s cannot connect to %s yet: %s", p.Srv.Name, p.Primary.Name, v)
}

func (p *Pair) notReplicating(v replication.Verdict) error {
	hint := kit.Hint("repair its replication on the host, then ask again")
	switch v.Threads {
	case replication.Broken, replication.BinlogsGone:
		hint = kit.Hint("rebuild it", kit.Rebuild(p.Srv.Name))
	case replication.AccountRefused, replication.HandshakeFailed:
		hint = kit.Hint("rotate its credentials, then ask again", kit.Rotate(p.Srv.Name))
	}
	return kit.Refuse(errorsv1.Reason_REASON_REPLICATION_ERROR, hint,
		"%s does not replicate from %s: %s", p.Srv.Name, p.Primary.Name, v)
}

// EnsureReplicating makes both threads run, repairing what can be repaired: stopped or killed
// threads, a refused account.
func (p *Pair) EnsureReplicating(ctx context.Context) error {
	for tries := 0; ; tries++ {
		var err error
		if p.St, err = p.EnsureServing(ctx); err != nil {
			return err
		}
		if err := appliesAll(p.Srv.Name, p.St); err != nil {
			return err
		}
		v := p.verdict()
		switch {
		case v.Threads == replication.Running:
			return nil
		case tries == 3:
			return fmt.Errorf("replication on %s does not stay up: %s", p.Srv.Name, v)
		}
		if err := p.repair(ctx, v); err != nil {
			return err
		}
	}
}

// repair does the one thing that helps against what keeps the threads from running, or refuses with
// MariaDB's own words.
func (p *Pair) repair(ctx context.Context, v replication.Verdict) error {
	switch v.Threads {
	case replication.Connecting:
		if st, err := p.Primary.Agent.Status(ctx); err == nil {
			if err := aloneWithID(p.Srv, st); err != nil {
				return err
			}
		}
		return p.connecting(v)
	case replication.HandshakeFailed:
		return kit.Wait("%[1]s and %[2]s do not accept each other's certificates; renew that of "+
			"%[1]s (understudy replica rotate-credentials %[1]s) or of %[2]s (understudy-agent "+
			"renew there): %[3]s", p.Srv.Name, p.Primary.Name, v)
	case replication.Absent, replication.AccountRefused:
		if p.observing && !p.signsIn {
			return p.notReplicating(v)
		}
		if v.Threads == replication.AccountRefused {
			p.Found("%s refused the account: %s", p.Primary.Name, v)
		}
		if err := p.Connect(ctx, v.Threads == replication.AccountRefused); err != nil {
			return err
		}
	case replication.BinlogsGone:
		return kit.Refuse(errorsv1.Reason_REASON_BINLOGS_PURGED, kit.Hint("rebuild it from a new "+
			"snapshot: what is purged is gone for good", kit.Rebuild(p.Srv.Name)),
			"%s cannot replicate: %s", p.Srv.Name, v)
	case replication.ServerIDTaken:
		return idTaken(p.Srv, v.String())
	case replication.Broken:
		return kit.Refuse(errorsv1.Reason_REASON_REPLICATION_ERROR, kit.Hint("rebuild it: its "+
			"data do not fit the primary's events", kit.Rebuild(p.Srv.Name)),
			"replication on %s is broken: %s", p.Srv.Name, v)
	}
	return p.startThreads(ctx, v)
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
	return kit.Refuse(errorsv1.Reason_REASON_SERVER_ID_TAKEN, kit.Hint("find the server that "+
		"uses it (SHOW SLAVE HOSTS on the primary), give it another one", kit.RetryThis()),
		"server_id %d of %s is in use by another server: %s", srv.ServerID, srv.Name, why)
}

// startThreads starts what is stopped. An error of the agent is checked, not believed: the
// replica's own status says what it means.
func (p *Pair) startThreads(ctx context.Context, before replication.Verdict) error {
	_, changed, err := p.Agent.StartReplication(ctx, "", threadsTimeout, p.FencingToken())
	switch {
	case changed && p.Paused:
		p.Found("replication on %s goes on", p.Srv.Name)
	case changed:
		p.Changed("started replication on %s (%s)", p.Srv.Name, before)
	}
	switch {
	case err == nil || kit.IsReason(err, errorsv1.Reason_REASON_REPLICATION_ERROR):
		return nil
	case notYet(ctx, err):
		return nil // on a slow network the IO thread takes its time, and goes on
	case kit.IsReason(err, errorsv1.Reason_REASON_REPLICATION_NOT_CONFIGURED):
		p.Found("%s lost whom it follows: %v", p.Srv.Name, err)
		return p.Connect(ctx, false)
	}
	return fmt.Errorf("cannot start replication on %s: %w", p.Srv.Name, err)
}

// notYet is true for a call that took longer than the agent waited: what was asked for goes on.
func notYet(ctx context.Context, err error) bool {
	return ctx.Err() == nil && kit.IsReason(err, errorsv1.Reason_REASON_TIMEOUT)
}
