package kit

import (
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Comparable refuses to compare what the agents of two servers say that work it out in the ways of
// two versions, and names the one to upgrade.
func Comparable(what, primary, replica string, theirs, its int) error {
	older, newer := replica, primary
	switch {
	case theirs == its:
		return nil
	case theirs < its:
		older, newer = primary, replica
	}
	return Refuse(errorsv1.Reason_REASON_UNIMPLEMENTED, Hint("upgrade understudy-agent on "+older+
		", and in its machine image, to the version that "+newer+" has, then ask again"),
		"the agents of %s and %s %s in different ways: that of %s is older", primary, replica, what,
		older)
}

// What agents do in the ways of versions, as Comparable says it.
const (
	DigestObjects = "digest objects"
	HashRows      = "hash rows"
)

// SameProofs refuses the agents of a primary and a replica that no verification to the level could
// compare: it would say so at its end.
func SameProofs(level inventory.VerifyLevel, primary, replica string, theirs, its HostInfo) error {
	err := Comparable(DigestObjects, primary, replica, told(theirs.Digests), told(its.Digests))
	if err != nil || level == inventory.VerifyPosition {
		return err
	}
	return Comparable(HashRows, primary, replica, told(theirs.RowHash), told(its.RowHash))
}

// told is a version; one that an agent does not tell is 1 at most.
func told(version int) int { return max(version, 1) }
