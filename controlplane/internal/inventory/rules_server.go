package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// BecomeReplica makes the server a replica of primary: replication counts as configured, and binlog
// auto purge is cleared in the same change. It is refused when it would follow itself, when it has
// replicas of its own (their names are given), and when it already follows another primary.
func (s *Server) BecomeReplica(primary string, replicas []string) error {
	switch {
	case primary == "":
		return refuseAs(errs.InvalidArgument, errorsv1.Reason_REASON_WRONG_ROLE,
			errs.WithHint("name its primary"),
			"server %s cannot be a replica without a primary", s.Name)
	case primary == s.Name:
		return refuseAs(errs.InvalidArgument, errorsv1.Reason_REASON_WRONG_ROLE,
			errs.WithHint("name another server"),
			"server %s cannot be its own replica", s.Name)
	case len(replicas) > 0:
		return refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			"let them follow another primary first, or delete them",
			"server %s cannot become a replica: %s replicate from it", s.Name,
			strings.Join(replicas, ", "))
	case s.Role == RoleReplica && s.Primary != primary:
		return refuse(errorsv1.Reason_REASON_WRONG_ROLE, "take it out of replication first",
			"server %s cannot follow %s: it is a replica of %s", s.Name, primary, s.Primary)
	}
	s.Role, s.Primary = RoleReplica, primary
	s.ReplicationConfigured, s.BinlogAutoPurge = true, false
	return nil
}

// BecomePrimary makes the server a primary. It is refused on a replica. A primary that has replicas
// counts as having replication configured, so its binlog auto purge is cleared when the first one
// comes: see GainReplica.
func (s *Server) BecomePrimary() error {
	if s.Role == RoleReplica {
		return refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			"take it out of replication first",
			"server %s cannot become a primary: it is a replica of %s", s.Name, s.Primary)
	}
	s.Role = RolePrimary
	return nil
}

// GainReplica readies a primary for a replica: binlog auto purge is cleared, because what it would
// purge the replica may still need.
func (s *Server) GainReplica() error {
	if err := s.BecomePrimary(); err != nil {
		return err
	}
	s.ReplicationConfigured, s.BinlogAutoPurge = true, false
	return nil
}

// LoseReplica records that a replica is gone; rest are the names of those that are left.
func (s *Server) LoseReplica(rest []string) {
	if s.Role == RolePrimary && len(rest) == 0 {
		s.ReplicationConfigured = false
	}
}

// LeaveReplication makes the server neither primary nor replica. It is refused on a primary that
// has replicas (their names are given).
func (s *Server) LeaveReplication(replicas []string) error {
	if len(replicas) > 0 {
		return refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			"let them follow another primary first, or delete them",
			"server %s cannot leave replication: %s replicate from it", s.Name,
			strings.Join(replicas, ", "))
	}
	s.Role, s.Primary, s.ReplicationConfigured = RoleNone, "", false
	return nil
}

// SetBinlogAutoPurge turns MariaDB's own purging of binlogs on or off. Turning it on is refused on
// a replica and on a primary that has replicas (their names are given); turning it off always
// works.
func (s *Server) SetBinlogAutoPurge(on bool, replicas []string) error {
	switch {
	case !on:
	case s.Role == RoleReplica:
		return refuse(errorsv1.Reason_REASON_AUTO_PURGE_CONFLICT,
			"leave binlog auto purge off: purging goes by what replicas still need",
			"binlog auto purge cannot be turned on: server %s is a replica of %s", s.Name,
			s.Primary)
	case len(replicas) > 0:
		return refuse(errorsv1.Reason_REASON_AUTO_PURGE_CONFLICT,
			"purge up to what all of them have applied instead",
			"binlog auto purge cannot be turned on: server %s has replicas that may need the "+
				"binlogs it would remove: %s", s.Name, strings.Join(replicas, ", "))
	case s.ReplicationConfigured:
		return refuse(errorsv1.Reason_REASON_AUTO_PURGE_CONFLICT,
			"wait until the replica that is being made is there or given up",
			"binlog auto purge cannot be turned on: replication is configured on server %s", s.Name)
	}
	s.BinlogAutoPurge = on
	return nil
}

// next says which states may follow, beside those that any state may move to.
func (s ServerState) next() []ServerState {
	switch s {
	case "":
		return []ServerState{ServerProvisioning, ServerReady}
	case ServerProvisioning:
		// DEGRADED: a job that was to replace its data took nothing off it.
		// STOPPED: a job that was to start it ended before its machine was on.
		return []ServerState{ServerReady, ServerFailed, ServerDegraded, ServerStopped}
	case ServerReady:
		return []ServerState{ServerFailed, ServerProvisioning, ServerDegraded, ServerStopping,
			ServerStopped}
	case ServerDegraded:
		return []ServerState{ServerReady, ServerFailed, ServerProvisioning, ServerStopping,
			ServerStopped}
	case ServerStopping:
		return []ServerState{ServerStopped}
	case ServerStopped:
		// READY, DEGRADED: somebody else has started it.
		return []ServerState{ServerProvisioning, ServerReady, ServerDegraded}
	case ServerFailed:
		return []ServerState{ServerProvisioning, ServerReady}
	case ServerUnreachable:
		return []ServerState{ServerReady, ServerFailed, ServerProvisioning, ServerDegraded,
			ServerStopping, ServerStopped}
	case ServerDeleting:
		return []ServerState{ServerDeleted, ServerFailed}
	}
	return nil
}

// SetState moves the server to a state, with the reason for it, or refuses a move that makes no
// sense. Any server that is not going or gone may be deleted or found out of reach.
func (s *Server) SetState(to ServerState, reason string) error {
	gone := s.State == ServerDeleting || s.State == ServerDeleted
	free := to == s.State || !gone && (to == ServerDeleting || to == ServerUnreachable &&
		s.State != "")
	if !free && !slices.Contains(s.State.next(), to) {
		return refuseAs(errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE,
			errs.WithHint("see its state and the reason", errs.Call("GetServer", "name",
				s.Subject())), "server %s is %s and cannot become %s", s.Name, s.State, to)
	}
	s.State, s.StateReason = to, reason
	if to != ServerDegraded && to != ServerUnreachable {
		s.Findings = nil
	}
	return nil
}

// IsStopped is the refusal of a server whose machine is off, as it was asked to be.
func (s Server) IsStopped() error {
	return refuseAs(errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE,
		errs.WithHint("start it first", errs.Call("StartServer", "name", s.Subject())),
		"server %s is STOPPED: its machine is off", s.Name)
}

// HasAgent refuses a server that is going or gone, or whose machine has not enrolled.
func (s Server) HasAgent() error {
	if s.AgentIdentity != "" && s.State != ServerDeleting && s.State != ServerDeleted &&
		s.State != ServerStopped {
		return nil
	}
	if s.State == ServerStopped {
		return s.IsStopped()
	}
	return refuseAs(errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE,
		errs.WithHint("name a server whose agent answers", errs.Call("ListServers")),
		"server %s is %s and has no agent", s.Name, s.State)
}

// Check returns every invariant of the record that does not hold, joined; replicas are the names of
// those that follow it.
func (s Server) Check(replicas []string) error {
	var broken []error
	hold := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken,
				fmt.Errorf("server %s: %s", s.Name, fmt.Sprintf(format, args...)))
		}
	}
	hold(!s.ReplicationConfigured || !s.BinlogAutoPurge,
		"replication is configured and binlog auto purge is on")
	hold(!s.BinlogAutoPurge || len(replicas) == 0 && s.Role != RoleReplica,
		"binlog auto purge is on where replicas need the binlogs")
	hold((s.Role == RoleReplica) == (s.Primary != ""), "role %s does not go with primary %q",
		s.Role, s.Primary)
	hold(s.Role != RoleReplica || s.ReplicationConfigured,
		"it is a replica without replication configured")
	hold(s.Primary != s.Name || s.Name == "", "it is its own primary")
	hold(s.State != ServerReady || s.ServerID != 0, "it is ready without a server_id")
	return errors.Join(broken...)
}

// CheckMounts returns every mount of the server that names a volume which is not attached to its
// machine, or which came with the image and awaits replacement.
func (s Server) CheckMounts(volumes []Volume) error {
	var broken []error
	for _, m := range s.Mounts {
		i := slices.IndexFunc(volumes, func(v Volume) bool { return v.ID == m.Volume })
		switch {
		case i < 0 || volumes[i].State != VolumeAttached || volumes[i].MachineID != s.MachineID:
			broken = append(broken,
				fmt.Errorf("server %s: the mount %s names volume %s, which is not attached to "+
					"machine %s", s.Name, m.Path, m.Volume, s.MachineID))
		case volumes[i].ImageDefault:
			broken = append(broken,
				fmt.Errorf("server %s: the mount %s names volume %s, which is the image's own",
					s.Name, m.Path, m.Volume))
		}
	}
	return errors.Join(broken...)
}
