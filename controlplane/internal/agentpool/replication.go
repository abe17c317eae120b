package agentpool

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// PrepareReplica proves the recovered position, takes the source's settings away and sets
// gtid_slave_pos.
func (a *agent) PrepareReplica(ctx context.Context,
	req kit.PrepareReplica) (kit.PreparedReplica, error) {
	resp, err := call(ctx, a, changeLimit, a.mariadb.PrepareReplica, &agentv1.PrepareReplicaRequest{
		Gtid: req.GTID, GtidUpper: req.GTIDUpper, SourceRole: serverRole(req.SourceReplica),
		ServerId: int64(req.ServerID), FencingToken: fencingToken(req.Token),
	})
	return kit.PreparedReplica{RecoveredGTID: resp.GetRecoveredGtid(),
		Changes: resp.GetChanges()}, err
}

// ConfigureReplica points MariaDB to its primary.
func (a *agent) ConfigureReplica(ctx context.Context,
	req kit.ConfigureReplica) ([]string, error) {
	resp, err := call(ctx, a, changeLimit, a.mariadb.ConfigureReplica,
		&agentv1.ConfigureReplicaRequest{
			PrimaryHost: req.PrimaryHost, PrimaryPort: int32(req.PrimaryPort), User: req.User,
			Password: req.Password.Reveal(), Certificate: req.Certificate,
			Tls: req.TLS, Force: req.Force, FencingToken: fencingToken(req.Token),
		})
	return resp.GetChanges(), err
}

// StartReplication makes both threads run, or applies exactly up to a position and stops there.
func (a *agent) StartReplication(ctx context.Context, until string, timeout time.Duration,
	f kit.FencingToken) (replication.Connection, bool, error) {
	resp, err := call(ctx, a, orDefault(timeout, replDefault)+answerGrace,
		a.mariadb.StartReplication,
		&agentv1.StartReplicationRequest{UntilGtid: until, Timeout: duration(timeout),
			FencingToken: fencingToken(f)})
	return connection(resp.GetStatus()), resp.GetChanged(), err
}

// StopReplication stops both threads, or the SQL thread alone.
func (a *agent) StopReplication(ctx context.Context, sqlOnly bool, timeout time.Duration,
	f kit.FencingToken) (bool, error) {
	resp, err := call(ctx, a, orDefault(timeout, replDefault)+answerGrace,
		a.mariadb.StopReplication,
		&agentv1.StopReplicationRequest{SqlThreadOnly: sqlOnly, Timeout: duration(timeout),
			FencingToken: fencingToken(f)})
	return resp.GetChanged(), err
}

// WaitForGTID waits until the position is applied and tells how far it is meanwhile.
func (a *agent) WaitForGTID(ctx context.Context, gtid string, timeout time.Duration,
	report func(kit.Waited)) (bool, error) {
	reached := false
	err := follow(ctx, a, orDefault(timeout, replDefault)+answerGrace, a.mariadb.WaitForGtid,
		&agentv1.WaitForGtidRequest{Gtid: gtid, Timeout: duration(timeout)},
		func(m *agentv1.WaitForGtidResponse) {
			reached = reached || m.GetReached()
			if report != nil {
				report(waited(m))
			}
		})
	return reached, err
}

// SetReadOnly turns read_only on or off.
func (a *agent) SetReadOnly(ctx context.Context, on bool, f kit.FencingToken) (bool, error) {
	resp, err := call(ctx, a, changeLimit, a.mariadb.SetReadOnly,
		&agentv1.SetReadOnlyRequest{ReadOnly: on, FencingToken: fencingToken(f)})
	return resp.GetChanged(), err
}

// ReserveBinlogs keeps the binary logs.
func (a *agent) ReserveBinlogs(ctx context.Context, id string, keep time.Duration, from string,
	f kit.FencingToken) (replication.Reservation, error) {
	resp, err := call(ctx, a, changeLimit, a.mariadb.ReserveBinlogs,
		&agentv1.ReserveBinlogsRequest{Id: id, Duration: duration(keep), FromGtid: from,
			FencingToken: fencingToken(f)})
	return reservation(resp.GetReservation()), err
}

// ReleaseBinlogs ends a reservation.
func (a *agent) ReleaseBinlogs(ctx context.Context, id string, f kit.FencingToken) (bool, error) {
	resp, err := call(ctx, a, changeLimit, a.mariadb.ReleaseBinlogs,
		&agentv1.ReleaseBinlogsRequest{Id: id, FencingToken: fencingToken(f)})
	return resp.GetChanged(), err
}

// SetBinlogExpiry makes MariaDB delete binary logs of that age, in whole seconds; 0 keeps them.
func (a *agent) SetBinlogExpiry(ctx context.Context, after time.Duration,
	f kit.FencingToken) (bool, error) {
	resp, err := call(ctx, a, changeLimit, a.mariadb.SetBinlogExpiry,
		&agentv1.SetBinlogExpiryRequest{Expiry: durationpb.New(after),
			FencingToken: fencingToken(f)})
	return resp.GetChanged(), err
}

// subject names a server on the wire; empty for none.
func subject(server string) string {
	if server == "" {
		return ""
	}
	return inventory.ServerSubject(server)
}

// EnsureReplicationAccount makes a replica's account on its primary.
func (a *agent) EnsureReplicationAccount(ctx context.Context,
	req kit.ReplicationAccount) ([]string, error) {
	resp, err := call(ctx, a, changeLimit, a.mariadb.EnsureReplicationAccount,
		&agentv1.EnsureReplicationAccountRequest{
			User: req.User, Host: req.Host, Password: req.Password.Reveal(),
			Server: subject(req.Server), Generation: req.Generation,
			KeepOthers: req.KeepOthers, EndSessions: req.EndSessions,
			FencingToken: fencingToken(req.Token),
		})
	return resp.GetChanges(), err
}

// DeleteReplicationAccount drops the account.
func (a *agent) DeleteReplicationAccount(ctx context.Context, user, host string,
	f kit.FencingToken) (bool, error) {
	resp, err := call(ctx, a, changeLimit, a.mariadb.DeleteReplicationAccount,
		&agentv1.DeleteReplicationAccountRequest{User: user, Host: host,
			FencingToken: fencingToken(f)})
	return resp.GetChanged(), err
}
