package verify

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// historyNow is the history of the server's binary log. It refuses to guess one.
func historyNow(ctx context.Context, k *kit.Kit, server string) (string, error) {
	agent, err := k.Agent(ctx, server)
	if err != nil {
		return "", err
	}
	st, err := agent.Status(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot observe MariaDB on %s: %w", server, err)
	}
	if !st.Answers {
		return "", kit.NotAnswering(server, st)
	}
	if st.BinlogHistory == "" {
		return "", kit.Refuse(errorsv1.Reason_REASON_GTID_MISMATCH,
			kit.Hint("ask again once its agent can tell", kit.GetServer(server)),
			"the agent of %s cannot tell yet which history its binary log has", server)
	}
	return st.BinlogHistory, nil
}

// compare is Compare; of a replica that may follow another history also of what it has received.
func (a Args) compare(ctx context.Context, p *host.Pair) (inventory.Verification, error) {
	if a.AcceptHistory == "" {
		return Compare(ctx, p, a.Level)
	}
	if err := p.HasHistory(ctx, a.History); err != nil {
		return inventory.Verification{}, err
	}
	if err := p.ReceiveAgain(ctx); err != nil {
		return inventory.Verification{}, err
	}
	verified, err := Compare(ctx, p, a.Level)
	if err != nil {
		return verified, err
	}
	return verified, p.HasHistory(ctx, a.History)
}

// accept records that the replica follows the history that was accepted: all data was equal at one
// position of it.
func (a Args) accept(p *host.Pair, v inventory.Verification) kit.Commit {
	return p.UpdateServer(a.Replica, func(srv *inventory.Server) error {
		srv.History = a.History
		return nil
	}, "follows the binary log of %s as it is now: all data is equal at %s; accepted because: %s",
		a.Primary, v.GTID, a.AcceptHistory)
}

// notAll refuses to accept a history for data that was not compared.
func (c *comparer) notAll(open []string) error {
	return kit.Refuse(errorsv1.Reason_REASON_GTID_MISMATCH,
		kit.Hint("stop what changes, locks or renames them, or make them readable, and retry the "+
			"job, or rebuild the replica", kit.RetryThis(), kit.Rebuild(c.Srv.Name)),
		"the history of %s cannot be accepted for %s: %d tables were not compared: %s",
		c.Primary.Name, c.Srv.Name, len(open), kit.SomeOf(open, 5))
}
