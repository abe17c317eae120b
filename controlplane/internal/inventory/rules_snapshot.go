package inventory

import (
	"slices"
	"time"

	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Usable refuses a snapshot that a replica of primary cannot be made from.
func (s Snapshot) Usable(primary string) error {
	switch {
	case s.State == SnapshotPending:
		return refuseAs(errs.FailedPrecondition, errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			errs.WithHint("wait until it is READY", errs.Call("GetSnapshot", "name", s.Subject())),
			"snapshot %s is not complete", s.ID)
	case s.State != SnapshotReady:
		return refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE, "take a new one",
			"snapshot %s is %s", s.ID, describeState(s))
	case s.Server != primary:
		return refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE, "use a snapshot of "+primary,
			"snapshot %s is of server %s, not of %s", s.ID, s.Server, primary)
	}
	return checkPoint(s.Point, s.ID)
}

func describeState(s Snapshot) string {
	if s.StateReason == "" {
		return string(s.State)
	}
	return string(s.State) + " (" + s.StateReason + ")"
}

// checkPoint refuses a consistent point that proves nothing.
func checkPoint(p consistentpoint.Point, snapshot string) error {
	missing := ""
	switch {
	case p.FilesystemUUID == "" || p.Filesystem == "":
		missing = "the filesystem's identity"
	case p.Nonce == "":
		missing = "the nonce"
	case p.ServerID == 0:
		missing = "the source's server_id"
	case p.ServerVersion == "":
		missing = "the source's version"
	}
	if missing == "" {
		return nil
	}
	return refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE, "take a new one",
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
// provider id and a complete consistent point, and nothing follows DELETED.
func (s *Snapshot) SetState(to SnapshotState, reason string) error {
	if to != s.State && !slices.Contains(s.State.next(), to) {
		return refuseAs(errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE,
			errs.WithHint("see its state and the reason; take a new one if it is of no use",
				errs.Call("GetSnapshot", "name", s.Subject())),
			"snapshot %s is %s and cannot become %s", s.ID, s.State, to)
	}
	if to == SnapshotReady {
		if s.ProviderID == "" {
			return refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE, "take a new one",
				"snapshot %s was never cut", s.ID)
		}
		if err := checkPoint(s.Point, s.ID); err != nil {
			return err
		}
	}
	s.State, s.StateReason = to, reason
	return nil
}

// TokenUsed says that another key has used the join token of the server.
func TokenUsed(server string) error {
	return refuseAs(errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_USED, newToken,
		"the join token of server %s was used by another key", server)
}

var newToken = errs.WithHint("make a new join token for the server")

// Redeem marks the token as used by the key, or refuses with errs.PermissionDenied. The key that
// used it may use it again until it expires, so that a lost answer costs nothing.
func (t *JoinToken) Redeem(server, keyPrint string, now time.Time) error {
	switch {
	case t.Server != server:
		return refuseAs(errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID,
			newToken, "the join token was not made for server %s",
			server)
	case !t.RevokedAt.IsZero():
		return refuseAs(errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID,
			newToken, "the join token of server %s ended when who made it was revoked",
			server)
	case !now.Before(t.Expires):
		return refuseAs(errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_EXPIRED,
			newToken, "the join token of server %s has expired",
			server)
	case keyPrint == "":
		return refuseAs(errs.InvalidArgument, errorsv1.Reason_REASON_TOKEN_USED,
			errs.WithHint("send a certificate request"),
			"no key was given for server %s", server)
	case t.UsedBy != "" && t.UsedBy != keyPrint:
		return TokenUsed(server)
	}
	if t.UsedBy == "" {
		t.UsedBy, t.UsedAt = keyPrint, now
	}
	return nil
}
