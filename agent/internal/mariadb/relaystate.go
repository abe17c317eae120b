package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A replica's position is in mysql.gtid_slave_pos, which commits with the data. Relay logs, and the
// files that describe them, only save a second transfer: a loss of power may tear them, and they
// are thrown away then. What must not be lost is who is followed.

const (
	repairInterval = 2 * time.Second
	// repairWait bounds a start of the threads that nobody waits for.
	repairWait = 20 * time.Second
)

// followed is what Configure set last, without the password.
type followed struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	User string `json:"user"`
	TLS  bool   `json:"tls"`
	// Certificate is true when MariaDB signs in with its own.
	Certificate bool `json:"certificate,omitempty"`
	// Filesystem is the UUID of the datadir's.
	Filesystem string `json:"filesystem"`
}

// rememberFollowed keeps what was set, and makes MariaDB's own files of it survive a loss of power.
func (rp *Replica) rememberFollowed(ctx context.Context, p Primary) error {
	v, err := variables(ctx, rp.server.db, "datadir")
	if err != nil {
		return err
	}
	volume, err := rp.server.volumes.of(ctx, v["datadir"])
	if err != nil {
		return err
	}
	err = os.MkdirAll(filepath.Dir(rp.follows), 0o700)
	if err == nil {
		err = atomicfile.WriteJSON(rp.follows, followed{p.Host, p.Port, p.User, p.TLS,
			p.Certificate, volume.UUID})
	}
	return diskError("cannot remember whom the replica follows", errors.Join(err,
		syncSettings(v["datadir"])))
}

// syncSettings writes the files with a connection's settings to the disk. MariaDB does so after
// each 10,000 events only.
func syncSettings(datadir string) error {
	dir, failed := untrusted.Open(datadir)
	if failed != nil {
		return failed
	}
	defer dir.Close()
	for _, name := range []string{"master.info", "multi-master.info", "relay-log.info",
		relayLog + ".index"} {
		file, err := dir.OpenFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = errors.Join(file.Sync(), file.Close())
		}
		failed = errors.Join(failed, err)
	}
	return errors.Join(failed, dir.Sync())
}

// knownFollowed is what was set last; false when nothing was on this datadir.
func (rp *Replica) knownFollowed(ctx context.Context) (kept followed, known bool, err error) {
	found, err := atomicfile.ReadJSON(rp.follows, &kept)
	if err != nil || !found {
		return kept, false, err
	}
	v, err := variables(ctx, rp.server.db, "datadir")
	if err != nil {
		return kept, false, err
	}
	volume, err := rp.server.volumes.of(ctx, v["datadir"])
	return kept, err == nil && volume.UUID == kept.Filesystem, err
}

// followedOn is true when a primary was followed on the data of that filesystem: a connection that
// is not there any more was lost.
func (rp *Replica) followedOn(filesystem string) bool {
	var kept followed
	found, err := atomicfile.ReadJSON(rp.follows, &kept)
	return err == nil && found && kept.Filesystem == filesystem
}

// neverStarted is true for a connection that has not been at work since MariaDB's start: a thread
// that ran has met its primary, or has an error.
func (r Replication) neverStarted() bool {
	return r.Stopped() && r.PrimaryServerID == 0 && r.IOErrno == 0 && r.SQLErrno == 0
}

// startTorn starts a connection whose relay state is lost: it is thrown away, and what it had is
// fetched again from the position.
func (rp *Replica) startTorn(ctx context.Context, current Replication) error {
	kept, known, err := rp.knownFollowed(ctx)
	if err != nil {
		return err
	}
	primary := Primary{Host: kept.Host, Port: kept.Port, User: kept.User, TLS: kept.TLS,
		Certificate: kept.Certificate}
	current.TLSVerify = primary.TLS // set again below
	if lost := differences(current, primary, rp.server.tls); !known || len(lost) > 0 {
		return unsafe(errorsv1.Reason_REASON_REPLICATION_NOT_CONFIGURED,
			"cannot start replication: its settings are lost or torn (master.info)",
			errs.WithHint("configure the primary again",
				errs.Call("EnsureReplicationAccount"),
				errs.Call("ConfigureReplica", "force", "true")))
	}
	if err := rp.discardRelayState(ctx, current.Connection); err != nil {
		return err
	}
	// MariaDB 10.11 turns verification off with each RESET SLAVE.
	if err := execute(ctx, rp.server.db, "CHANGE MASTER TO "+verify(primary.TLS)); err != nil {
		return err
	}
	if err := execute(ctx, rp.server.db, "START SLAVE"); err != nil {
		return err
	}
	return rp.rememberFollowed(ctx, primary)
}

// discardRelayState throws away relay logs and their description; gtid_slave_pos stays.
func (rp *Replica) discardRelayState(ctx context.Context, connection string) error {
	before, err := slavePosition(ctx, rp.server.db)
	if err != nil {
		return err
	}
	if err := execute(ctx, rp.server.db, "RESET SLAVE "+literal(connection)); err != nil {
		return err
	}
	rp.log.Info("discarded the relay state of replication", "gtid", before.String())
	return expectPosition(ctx, rp.server.db, before)
}

// dropNameless forgets connections that no host belongs to: what a torn multi-master.info names.
func (rp *Replica) dropNameless(ctx context.Context) error {
	all, err := replications(ctx, rp.server.db)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Connection == "" || r.Host != "" {
			continue
		}
		if err := stopThreads(ctx, rp.server.db, r, false); err != nil {
			return err
		}
		if err := execute(ctx, rp.server.db, "RESET SLAVE "+literal(r.Connection)+
			" ALL"); err != nil {
			return err
		}
	}
	return nil
}

// Repair starts replication again that MariaDB could not start by itself because its relay state
// is torn, until ctx is done. runs says whether MariaDB's unit is up: nothing is asked otherwise.
func (rp *Replica) Repair(ctx context.Context, loops *loop.Set, runs func(context.Context) bool) {
	loops.Run(ctx, loop.Spec{Name: "repair the relay state", Every: repairInterval,
		Limit: repairWait, LateAfter: 5 * time.Minute,
		Means: "replication stands still after a loss of power"}, func(ctx context.Context) error {
		if !runs(ctx) || rp.quiesced() {
			return nil
		}
		return rp.repair(ctx)
	})
}

// repair acts only where replication is to start together with MariaDB and did not.
func (rp *Replica) repair(ctx context.Context) error {
	ours, err := rp.dropIn.options()
	if err != nil || effective(ours)["skip_slave_start"] != "OFF" ||
		rp.server.answers(ctx) != nil {
		return err
	}
	current, configured, err := defaultReplication(ctx, rp.server.db)
	if err != nil || !configured || !current.neverStarted() {
		return err
	}
	_, known, err := rp.knownFollowed(ctx)
	if err != nil || !known {
		return err
	}
	_, _, err = rp.Start(ctx, repairWait)
	if err != nil {
		return fmt.Errorf("cannot repair the relay state: %w", err)
	}
	return nil
}
