package host

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// CheckSignsIn refuses a replica that other credentials cannot help: its threads neither run nor
// try to connect.
func (p *Pair) CheckSignsIn() error {
	v := p.verdict()
	switch {
	case v.Threads == replication.Running, v.Threads == replication.Connecting,
		v.Threads == replication.AccountRefused, v.Threads == replication.HandshakeFailed:
		p.Found("%s follows %s: %s", p.Srv.Name, p.Primary.Name, v)
		return nil
	}
	return p.notReplicating(v)
}

// SignIn has the replica sign in to its primary with its certificate of now, or with a new password
// where that cannot be. When it has the settings for that already, the IO thread alone is
// restarted, and the relay log stays. It waits for as long as that takes. Once it has signed in,
// nobody else does: accounts of it for other hosts go, and so do sessions that began with earlier
// credentials.
func (p *Pair) SignIn(ctx context.Context) error {
	p.signsIn = true
	if err := p.reconnect(ctx); err != nil {
		return err
	}
	if err := p.EnsureReplicating(ctx); err != nil {
		return err
	}
	account := p.account
	account.KeepOthers, account.EndSessions = false, true
	return p.ensureAccount(ctx, account)
}

// keptPassword is the account with the password that this process set last on both sides. On a slow
// network the replica takes longer than a call to sign in with it: another one would begin it anew.
const keptPassword = "password"

type signingIn struct{ account kit.ReplicationAccount }

// Close has nothing to close: what is kept is in memory alone.
func (signingIn) Close() error { return nil }

// reconnect has the replica and its account the same credentials, and the IO thread started since,
// once.
func (p *Pair) reconnect(ctx context.Context) error {
	conn, configured := replication.Find(p.St.Connections, p.Want.Account)
	if kept, _ := p.Kept(keptPassword); configured && !p.Want.Certificate {
		if own, is := kept.(signingIn); is {
			p.account = own.account
			return nil
		}
	}
	if !p.Want.Certificate || !configured || !p.Want.Fits(conn) {
		return p.Connect(ctx, configured)
	}
	if err := p.EnsureAccount(ctx, kit.Secret{}); err != nil {
		return err
	}
	changed, err := p.Agent.ReconnectReplica(ctx, threadsTimeout, p.FencingToken())
	if err != nil && !notYet(ctx, err) &&
		!kit.IsReason(err, errorsv1.Reason_REASON_REPLICATION_ERROR) {
		return fmt.Errorf("cannot reconnect %s to %s: %w", p.Srv.Name, p.Primary.Name, err)
	}
	if changed {
		p.Changed("restarted the IO thread of %s", p.Srv.Name)
	}
	return nil
}
