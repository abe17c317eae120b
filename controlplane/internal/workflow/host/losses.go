package host

import (
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// LogsAll refuses a server whose binary log leaves changes out, or has statements that change other
// rows elsewhere: what follows it would differ from it without an error.
func LogsAll(n *kit.Node) error {
	found := replication.LogLosses(n.Status)
	if len(found) == 0 {
		return nil
	}
	if found[0] == replication.RemovedLog(n.Status) {
		return kit.Refuse(errorsv1.Reason_REASON_MARIADB_SETTING, replication.NextLog(n.Name),
			"replicas of %s would miss changes: %s", n.Name, found[0])
	}
	return kit.Refuse(errorsv1.Reason_REASON_MARIADB_SETTING,
		kit.Hint("take this out of its option files (`my_print_defaults --mysqld` lists them), "+
			"restart mariadb.service, then ask again"),
		"replicas of %s would differ from it in silence: %s", n.Name, strings.Join(found, "; "))
}

// appliesAll refuses a replica that would leave changes out, or go on behind an error.
func appliesAll(name string, st replication.Status) error {
	found := replication.ApplyLosses(st)
	if len(found) == 0 {
		return nil
	}
	return kit.Refuse(errorsv1.Reason_REASON_MARIADB_SETTING,
		kit.Hint("stop replication there, take this back in the running server (SET GLOBAL) and "+
			"in its option files (`my_print_defaults --mysqld` lists them); secure_timestamp and "+
			"slave_skip_errors need a restart of mariadb.service", kit.RetryThis()),
		"%s would differ from its primary in silence: %s", name, strings.Join(found, "; "))
}

// lossless refuses a pair whose replication loses changes. What pointing the replica to its primary
// takes back is left to that.
func (p *Pair) lossless() error {
	if err := LogsAll(p.Primary); err != nil {
		return err
	}
	if err := p.leavesNothingOut(); err != nil {
		return err
	}
	for _, u := range replication.Unlikes(p.Srv.Name, p.Primary.Name, p.St, p.Primary.Status) {
		return kit.Refuse(errorsv1.Reason_REASON_HOST_UNFIT, kit.Hint(u.Hint.Text, kit.RetryThis()),
			"%s would differ from its primary in silence: %s", p.Srv.Name, u.Text)
	}
	st := p.St
	if conn, ok := replication.Find(st.Connections, p.Want.Account); ok && !p.observing &&
		!p.Want.Fits(conn) {
		st.Connections = nil
	}
	return appliesAll(p.Srv.Name, st)
}

// leavesNothingOut refuses a replica that would take transactions of its primary for its own. Those
// that its data has, as it has applied them or was copied later, are none of these.
func (p *Pair) leavesNothingOut() error {
	id, primary := p.Srv.ServerID, p.Primary.Status
	left := replication.LeftOut(id, primary, p.St.SlavePos)
	if point := pointOf(p.Snap).Low; point != "" && replication.LeftOut(id, primary, point) == "" {
		left = ""
	}
	if left == "" {
		return nil
	}
	return kit.Refuse(errorsv1.Reason_REASON_SERVER_ID_TAKEN,
		replication.AnotherID(p.Srv.Name, p.Primary.Name),
		"%s would leave out transactions of %s that bear its own server_id, %d: up to %s",
		p.Srv.Name, p.Primary.Name, id, left)
}
