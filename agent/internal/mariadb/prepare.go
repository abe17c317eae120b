package mariadb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// ReplicaPlan is what a copy must have recovered before it may become a replica.
type ReplicaPlan struct {
	// Gtid is the snapshot's position. Upper is not empty for a snapshot without a lock: the
	// recovered position lies between them.
	Gtid, Upper gtid.Position
	// Ranged is true when Upper counts.
	Ranged bool
	// SourceReplica is true when the snapshot's source was a replica.
	SourceReplica bool
	// ServerID is the server_id that this server must have.
	ServerID int64
}

// prepared is the mark of a copy that was prepared: from then on its position moves, and the same
// call is a no-op.
type prepared struct {
	Gtid       string `json:"gtid"`
	ServerID   int64  `json:"server_id"`
	Filesystem string `json:"filesystem"`
}

// Prepare proves the recovered position and sets gtid_slave_pos to it.
func (rp *Replica) Prepare(ctx context.Context,
	plan ReplicaPlan) (recovered string, changes []string, err error) {
	const what = "cannot prepare the replica"
	err = rp.server.change(ctx, what, func() error {
		v, err := variables(ctx, rp.server.db, liveVariables()...)
		if err != nil {
			return err
		}
		live := fromVariables(v)
		if live.ServerID != plan.ServerID {
			return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
				fmt.Sprintf("%s: server_id is %d instead of %d", what, live.ServerID,
					plan.ServerID),
				errs.WithHint("write the configuration and restart MariaDB before anything is "+
					"written here",
					errs.Call("SetConfiguration", "server_id", fmt.Sprint(plan.ServerID)),
					errs.Call("RestartUnit", "unit", Unit)))
		}
		connections, err := replications(ctx, rp.server.db)
		if err != nil {
			return err
		}
		mark, err := rp.preparedMark(ctx, plan, v["datadir"])
		if err != nil {
			return err
		}
		if rp.isPrepared(live, connections, plan, mark) {
			recovered = live.Gtid.Slave
			return nil
		}
		position, err := recoveredPosition(live, plan)
		if err != nil {
			return err
		}
		recovered = position.String()
		changes, err = becomeReplica(ctx, rp.server.db, live, connections, position)
		if err == nil {
			err = diskError("cannot begin to note what happens to the replica", rp.begins())
		}
		if err != nil {
			return err
		}
		return rp.leaveMark(mark)
	})
	return recovered, changes, err
}

func (rp *Replica) preparedMark(ctx context.Context, plan ReplicaPlan,
	datadir string) (prepared, error) {
	volume, err := rp.server.volumes.of(ctx, datadir)
	return prepared{Gtid: plan.Gtid.String(), ServerID: plan.ServerID, Filesystem: volume.UUID}, err
}

func (rp *Replica) leaveMark(mark prepared) error {
	err := os.MkdirAll(filepath.Dir(rp.mark), 0o700)
	if err == nil {
		err = atomicfile.WriteJSON(rp.mark, mark)
	}
	return diskError("cannot remember that the replica is prepared", err)
}

// isPrepared is true once the very same call has succeeded: the mark shows it, or replication is at
// work with settings of ours. The position has moved on since and contains the expected one.
func (rp *Replica) isPrepared(live Live, connections []Replication, plan ReplicaPlan,
	mark prepared) bool {
	at, err := gtid.ParsePosition(live.Gtid.Slave)
	if err != nil || !at.Contains(plan.Gtid) {
		return false
	}
	if len(connections) == 0 && !rp.followedOn(mark.Filesystem) {
		return false // before it follows a primary its position does not move, and is proved again
	}
	for _, r := range connections {
		if r.Connection != "" {
			return false
		}
		if !r.Stopped() && r.UsingGtid == "Slave_Pos" && (r.CAFile == rp.server.tls.CA || !r.TLS) {
			return true
		}
	}
	var old prepared
	found, err := atomicfile.ReadJSON(rp.mark, &old)
	return err == nil && found && old == mark
}

// recoveredPosition is the position that the copy recovered, proved to be the expected one. A
// transaction that the copy logged under its own server_id, or beyond what its source had applied,
// is one too many.
func recoveredPosition(live Live, plan ReplicaPlan) (gtid.Position, error) {
	binlog, err := gtid.ParsePosition(live.Gtid.Binlog)
	if err != nil {
		return gtid.Position{}, err
	}
	slave, err := gtid.ParsePosition(live.Gtid.Slave)
	if err != nil {
		return gtid.Position{}, err
	}
	at := binlog
	if plan.SourceReplica {
		at = slave
	}
	if own := ownTransactions(live); own != "" {
		return at, errant(own, at, plan)
	}
	if beyond := binlog.Beyond(slave); plan.SourceReplica && !beyond.IsEmpty() {
		return at, errant(beyond.String(), at, plan)
	}
	if plan.Ranged {
		err = at.Between(plan.Gtid, plan.Upper)
	} else if !at.Equal(plan.Gtid) {
		err = fmt.Errorf("position %s is not %s", display(at), display(plan.Gtid))
	}
	if err != nil && at.IsEmpty() && !plan.SourceReplica {
		err = fmt.Errorf("%w: this server read no binary log of the copy; log_bin has to have "+
			"the base name that it has on the source", err)
	}
	if err != nil {
		return at, mismatch("the recovered "+err.Error(), at, plan.Gtid)
	}
	return at, nil
}

// ownTransactions are those that this very server logged; its id is its own alone, so a copy has
// none.
func ownTransactions(live Live) string {
	for item := range strings.SplitSeq(live.Gtid.BinlogState, ",") {
		g, err := gtid.Parse(strings.TrimSpace(item))
		if err == nil && int64(g.ServerID) == live.ServerID {
			return g.String()
		}
	}
	return ""
}

func errant(what string, at gtid.Position, plan ReplicaPlan) error {
	return mismatch(fmt.Sprintf("this copy has transactions that its source did not have at %s: %s",
		display(plan.Gtid), what), at, plan.Gtid)
}

func mismatch(message string, at, expected gtid.Position) error {
	return unsafe(errorsv1.Reason_REASON_GTID_MISMATCH, message,
		errs.WithHint("rebuild the replica", errs.Call("RebuildReplica")),
		errs.Meta("recovered_gtid", at.String()), errs.Meta("expected_gtid", expected.String()))
}

// display returns a position as text for an operator.
func display(p gtid.Position) string {
	if p.IsEmpty() {
		return "(empty)"
	}
	return p.String()
}

func becomeReplica(ctx context.Context, q querier, live Live, connections []Replication,
	at gtid.Position) ([]string, error) {
	var changes []string
	for _, r := range connections {
		name := literal(r.Connection)
		if err := stopThreads(ctx, q, r, false); err != nil {
			return changes, err
		}
		if err := execute(ctx, q, "RESET SLAVE "+name+" ALL"); err != nil {
			return changes, err
		}
		changes = append(changes, "forgot the source's primary "+r.Host+":"+strconv.Itoa(r.Port))
	}
	slave, err := gtid.ParsePosition(live.Gtid.Slave)
	if err != nil || slave.Equal(at) {
		return changes, err
	}
	if err := execute(ctx, q, "SET GLOBAL gtid_slave_pos = "+literal(at.String())); err != nil {
		return changes, err
	}
	return append(changes, "set gtid_slave_pos to "+display(at)), nil
}
