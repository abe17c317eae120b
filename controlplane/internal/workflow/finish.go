package workflow

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// finishReplica lets replication start by itself from now on, sees that all invariants hold at
// once, gives up the reservation and records the replica as READY.
func (s *step) finishReplica(ctx context.Context) (outcome, error) {
	p, err := s.pair(ctx)
	if err != nil {
		return outcome{}, err
	}
	if err := s.ensureReplicating(ctx, p); err != nil {
		return outcome{}, err
	}
	if err := s.checkReplica(ctx, p); err != nil {
		return outcome{}, err
	}
	ready := p.srv
	ready.State = inventory.ServerReady
	c, err := p.agent.SetConfiguration(ctx, s.configuration(ready, s.args.Options))
	if err != nil {
		return outcome{}, fmt.Errorf("cannot let replication start by itself on %s: %w", p.srv.Name,
			err)
	}
	if c.Changed {
		s.Changed("replication starts with MariaDB on %s", p.srv.Name)
	}
	if err := s.stopAutoPurge(ctx, p.primary); err != nil {
		return outcome{}, err
	}
	if err := s.releaseBinlogs(ctx, p.primary.srv.Name, s.reservation()); err != nil {
		return outcome{}, err
	}
	return done(both(s.recordReady(p.srv.Name, p.st, "verified by "+string(s.args.Verify)),
		both(s.recordVerified(p), s.forgetReservation())))
}

// recordVerified dates the comparison that the job made.
func (s *step) recordVerified(p *pair) commit {
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, p.srv.Name)
		if err != nil {
			return err
		}
		srv.Verified = inventory.Verification{Level: verifyLevels[s.args.Verify],
			GTID: p.st.SlavePos, Time: s.w.Now()}
		return rec.Servers().Update(ctx, &srv)
	}
}

var verifyLevels = map[Verify]inventory.VerifyLevel{VerifyPosition: inventory.VerifyPosition,
	VerifySample: inventory.VerifySample, VerifyFull: inventory.VerifyFull}

// checkReplica looks at everything that must be true of a READY replica, at once.
func (s *step) checkReplica(ctx context.Context, p *pair) error {
	st, err := p.agent.Status(ctx)
	if err != nil {
		return err
	}
	problems := p.want.Problems(st)
	if !s.servesRightly(p.host, st) {
		problems = append(problems, "MariaDB does not serve the server's own volume")
	}
	if settled, err := s.settled(ctx, p.host); err != nil {
		return err
	} else if !settled {
		problems = append(problems, "the server's volume is not mounted where it belongs")
	}
	if p.srv.BinlogAutoPurge || p.primary.srv.BinlogAutoPurge {
		problems = append(problems, "binlog auto purge is on together with replication")
	}
	if ok, err := replication.Covers(p.primary.status.BinlogPos, st.SlavePos); err == nil && !ok {
		// The primary was looked at first, so that a replica may have passed it meanwhile.
		if now, err := p.primary.agent.Status(ctx); err == nil {
			if ok, err := replication.Covers(now.BinlogPos, st.SlavePos); err == nil && !ok {
				problems = append(problems, sprintf("it is at %s, which %s at %s does not have",
					st.SlavePos, p.primary.srv.Name, now.BinlogPos))
			}
		}
	}
	if len(problems) > 0 {
		return errs.New(errs.Internal, errorsv1.Reason_REASON_REPLICATION_ERROR,
			p.srv.Name+" is not a replica yet: "+strings.Join(problems, "; "),
			errs.WithHint("`understudy job retry JOB`: its steps make these true again"))
	}
	p.st = st
	s.Found("all invariants hold; position %s", or(st.SlavePos, "(empty)"))
	return nil
}

// recordReady records a server as proved to do what its role says.
func (s *step) recordReady(name string, st replication.Status, reason string) commit {
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, name)
		if err != nil || srv.State == inventory.ServerReady && srv.StateReason == reason {
			return err
		}
		srv.BinaryVersion, srv.DatadirVersion,
			srv.LastSeen = or(st.BinaryVersion, srv.BinaryVersion),
			or(st.DatadirVersion, srv.DatadirVersion), s.w.Now()
		if err := srv.SetState(inventory.ServerReady, reason); err != nil {
			return err
		}
		replicas, err := rec.Servers().ReplicasOf(ctx, name)
		if err != nil {
			return err
		}
		if err := srv.Check(replicas); err != nil {
			return err
		}
		if err := rec.Servers().Update(ctx, &srv); err != nil {
			return err
		}
		return s.audit(ctx, rec, "server.update", srv.Subject(), "%s is READY, %s", name, reason)
	}
}

// forgetReservation records that the job's own snapshot keeps no binary logs any more.
func (s *step) forgetReservation() commit {
	if !s.args.TakeSnapshot {
		return nil
	}
	return func(ctx context.Context, rec Records) error {
		snap, err := rec.Snapshots().Get(ctx, s.args.Snapshot)
		if missing(err) || err == nil && snap.Reservation == "" {
			return nil
		}
		if err != nil {
			return err
		}
		snap.Reservation, snap.ReservedTo = "", time.Time{}
		return rec.Snapshots().Update(ctx, &snap)
	}
}

// formatVolume makes a filesystem on a volume that is recorded blank and probes blank.
func (s *step) formatVolume(ctx context.Context) (outcome, error) {
	h, err := s.host(ctx)
	if err != nil {
		return outcome{}, err
	}
	if !h.vol.Blank() || h.at.SnapshotID != "" {
		return outcome{}, refuse(errorsv1.Reason_REASON_DEVICE_NOT_BLANK, "nothing was written "+
			"to it; have a blank one made: `understudy job redo JOB swap_volume`",
			"volume %s is not recorded blank: it is not formatted", h.at.ID)
	}
	device, changed, err := h.agent.FormatVolume(ctx, FormatVolume{
		DeviceIDs: s.w.Cloud.DeviceNames(h.at.ID), Filesystem: s.args.Filesystem,
		FilesystemUUID: filesystemUUID(h.vol), RecordedBlank: true,
		DeviceTimeout: time.Minute, Fence: s.fence(),
	})
	if err != nil {
		return outcome{}, fmt.Errorf("cannot format volume %s: %w", h.at.ID, err)
	}
	s.Found("volume %s is %s as %s", h.at.ID, device.Path, device.Filesystem)
	if changed {
		s.Changed("made %s on volume %s", s.args.Filesystem, h.at.ID)
	}
	return done(nil)
}

// initializeDatadir makes a new datadir where there is none. A server that has served before gets
// none: what is missing there is lost.
func (s *step) initializeDatadir(ctx context.Context) (outcome, error) {
	h, err := s.host(ctx)
	if err != nil {
		return outcome{}, err
	}
	st, err := h.agent.Status(ctx)
	if err != nil {
		return outcome{}, err
	}
	if s.servesRightly(h, st) || everReady(h.srv) {
		s.Found("the datadir is in use")
		return done(nil)
	}
	if _, err := s.ensureMounts(ctx, h); err != nil {
		return outcome{}, err
	}
	p, err := h.agent.PrepareDatadir(ctx, PrepareDatadir{Datadir: datadirPath, Initialize: true,
		Fence: s.fence()})
	if err != nil {
		return outcome{}, fmt.Errorf("cannot make the datadir of %s: %w", h.srv.Name, err)
	}
	s.changed(datadirPath, p.Changes)
	return done(nil)
}

// finishPrimary proves that the primary takes writes and records it as READY.
func (s *step) finishPrimary(ctx context.Context) (outcome, error) {
	h, err := s.host(ctx)
	if err != nil {
		return outcome{}, err
	}
	st, err := s.ensureServing(ctx, h)
	if err != nil {
		return outcome{}, err
	}
	if health, why := replication.JudgePrimary(st, nil,
		h.srv.ServerID); health != replication.Healthy {
		return outcome{}, refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			"take away what makes it one on the host, then `understudy job retry JOB`",
			"%s is not a primary: %s", h.srv.Name, why)
	}
	proof, err := h.agent.ProveWritable(ctx, s.fence())
	if err != nil {
		return outcome{}, fmt.Errorf("%s does not take writes: %w", h.srv.Name, err)
	}
	s.Found("a commit took %s and is %s", proof.Latency.Round(time.Millisecond), proof.GTID)
	return done(s.recordReady(h.srv.Name, st, ""))
}
