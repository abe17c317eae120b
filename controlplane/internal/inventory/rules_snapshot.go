package inventory

import (
	"slices"
	"time"
)

// Usable refuses a snapshot that a replica of primary cannot be made from.
func (s Snapshot) Usable(primary string) error {
	switch {
	case s.State == SnapshotPending:
		return Refuse(ErrPrecondition, SnapshotNotUsable,
			"wait until `understudy snapshot get` says READY", "snapshot %s is not complete", s.ID)
	case s.State != SnapshotReady:
		return Refuse(ErrPrecondition, SnapshotNotUsable, "take a new one", "snapshot %s is %s",
			s.ID, describeState(s))
	case s.Server != primary:
		return Refuse(ErrPrecondition, SnapshotNotUsable, "use a snapshot of "+primary,
			"snapshot %s is of server %s, not of %s", s.ID, s.Server, primary)
	}
	return s.Testimony.check(s.ID)
}

func describeState(s Snapshot) string {
	if s.StateReason == "" {
		return string(s.State)
	}
	return string(s.State) + " (" + s.StateReason + ")"
}

// check refuses a testimony that proves nothing.
func (t Testimony) check(snapshot string) error {
	missing := ""
	switch {
	case t.FSUUID == "" || t.FSType == "":
		missing = "the filesystem's identity"
	case t.Nonce == "":
		missing = "the nonce"
	case t.ServerID == 0:
		missing = "the source's server_id"
	case t.Version == "":
		missing = "the source's version"
	case t.Role == "":
		missing = "the source's role"
	}
	if missing == "" {
		return nil
	}
	return Refuse(ErrPrecondition, SnapshotNotUsable, "take a new one",
		"snapshot %s has no record of %s", snapshot, missing)
}

// next says which states may follow.
func (s SnapshotState) next() []SnapshotState {
	switch s {
	case "":
		return []SnapshotState{SnapshotPending}
	case SnapshotPending:
		return []SnapshotState{SnapshotReady, SnapshotFailed, SnapshotDeleted}
	case SnapshotReady:
		return []SnapshotState{SnapshotFailed, SnapshotDeleted}
	case SnapshotFailed:
		return []SnapshotState{SnapshotDeleted, SnapshotPending}
	}
	return nil
}

// SetState moves the snapshot to a state, with the reason for it, or refuses: READY needs a
// provider id and a complete testimony, and nothing follows DELETED.
func (s *Snapshot) SetState(to SnapshotState, reason string) error {
	if to != s.State && !slices.Contains(s.State.next(), to) {
		return Refuse(ErrPrecondition, StateForbids, "see what it is now, and why, with "+
			"`understudy snapshot get`; take a new one when it is of no use",
			"snapshot %s is %s and cannot become %s", s.ID, s.State, to)
	}
	if to == SnapshotReady {
		if s.ProviderID == "" {
			return Refuse(ErrPrecondition, SnapshotNotUsable, "take a new one",
				"snapshot %s was never cut", s.ID)
		}
		if err := s.Testimony.check(s.ID); err != nil {
			return err
		}
	}
	s.State, s.StateReason = to, reason
	return nil
}

// Redeem marks the token as used by the key, or refuses with ErrDenied. The key that used it may
// use it again until it expires, so that a lost answer costs nothing.
func (t *JoinToken) Redeem(server, keyPrint string, now time.Time) error {
	const way = "make a new join token for the server"
	switch {
	case t.Server != server:
		return Refuse(ErrDenied, TokenForOther, way, "the join token was not made for server %s",
			server)
	case !now.Before(t.Expires):
		return Refuse(ErrDenied, TokenExpired, way, "the join token of server %s has expired",
			server)
	case keyPrint == "":
		return Refuse(ErrInvalid, TokenSpent, "send a certificate request",
			"no key was given for server %s", server)
	case t.UsedBy != "" && t.UsedBy != keyPrint:
		return Refuse(ErrDenied, TokenSpent, way,
			"the join token of server %s was used by another key", server)
	}
	if t.UsedBy == "" {
		t.UsedBy, t.UsedAt = keyPrint, now
	}
	return nil
}
