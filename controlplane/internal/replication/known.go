package replication

import (
	"slices"
	"time"

	"github.com/understudy-db/understudy/proto/gtid"
)

// Claim proves a history of a binary log to an agent that lost it: a place, the position there, and
// a digest of the events before it.
type Claim struct {
	ID     string `json:"id"`
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	GTID   string `json:"gtid"`
	Digest string `json:"digest"`
}

// Read is how far a replica has read a binary log of its primary.
type Read struct {
	Replica string `json:"replica"`
	File    string `json:"file"`
	Offset  int64  `json:"offset"`
	GTID    string `json:"gtid"` // received
	// Seen is when it was first seen to read that log.
	Seen time.Time `json:"seen,omitzero"`
}

// Known is what is known of the history of a server's binary log, beside what its agent keeps:
// docs/lossless.md.
type Known struct {
	Claim Claim  `json:"claim"` // that its agent reported last
	Seen  string `json:"seen"`  // position that was reported last
	// Reads are those of this history: of each replica the latest of each log, the latest log last.
	Reads []Read `json:"reads,omitempty"`
	// Generation is that of the control plane which wrote it last. Restored is true when the
	// records were restored since, and nothing of it was confirmed: what the binary log was
	// meanwhile is not known.
	Generation int64 `json:"generation,omitempty"`
	Restored   bool  `json:"restored,omitempty"`
}

const (
	// readsOfOne are the binary logs of which is known how far a replica read them, until that was
	// confirmed; readsOfAll are those of all replicas together.
	readsOfOne = 16
	readsOfAll = 1000
)

// HasRead takes how far a replica that follows that history has read. It is true when that is more
// than was known. A position that the primary refused (1236) is none that was read: somebody may
// have set it. After a restore it counts, because nothing else may tell of a tail that was lost.
func (k *Known) HasRead(history, replica string, c Connection, now time.Time) bool {
	if k.Claim.ID == "" || history != k.Claim.ID || c.ReadFile == "" || c.UsingGTID == "No" ||
		c.IOErrno == 1236 && !k.Restored {
		return false
	}
	read := Read{Replica: replica, File: c.ReadFile, Offset: c.ReadOffset,
		GTID: k.ours(c.ReceivedPos, ""), Seen: now}
	at := slices.IndexFunc(k.Reads, func(r Read) bool {
		return r.Replica == replica && r.File == c.ReadFile
	})
	if at >= 0 {
		was := k.Reads[at]
		read.Offset, read.GTID = max(read.Offset, was.Offset), k.ours(read.GTID, was.GTID)
		read.Seen = was.Seen
		if read == was {
			return false
		}
		k.Reads = slices.Delete(k.Reads, at, at+1)
	}
	k.Reads = append(k.Reads, read)
	k.bound(replica)
	return true
}

// ours is the position after both, in the domains that the binary log of the server has. A replica
// may have others, from an earlier life.
func (k *Known) ours(a, b string) string {
	seen, err := gtid.ParsePosition(k.Seen)
	if err != nil {
		return ""
	}
	var all []gtid.GTID
	for _, text := range []string{a, b} {
		if p, err := gtid.ParsePosition(text); err == nil {
			all = append(all, p.GTIDs()...)
		}
	}
	return gtid.Of(slices.DeleteFunc(all, func(g gtid.GTID) bool {
		_, has := seen.Domain(g.Domain)
		return !has
	})...).String()
}

// bound forgets what is too much: the oldest log of the replica, then the oldest of all.
func (k *Known) bound(replica string) {
	n := 0
	for _, r := range k.Reads {
		if r.Replica == replica {
			n++
		}
	}
	if n > readsOfOne {
		k.Reads = slices.Delete(k.Reads, k.first(replica), k.first(replica)+1)
	}
	if len(k.Reads) > readsOfAll {
		k.Reads = k.Reads[1:]
	}
}

func (k *Known) first(replica string) int {
	return slices.IndexFunc(k.Reads, func(r Read) bool { return r.Replica == replica })
}

// Confirmed forgets what was confirmed, but for the latest log of each replica: a log that is not
// the last one does not change any more.
func (k *Known) Confirmed(then Known) {
	if then.Claim.ID != k.Claim.ID {
		return
	}
	k.Restored = false
	latest := map[string]string{}
	for _, r := range k.Reads {
		latest[r.Replica] = r.File
	}
	k.Reads = slices.DeleteFunc(k.Reads, func(r Read) bool {
		return latest[r.Replica] != r.File && slices.Contains(then.Reads, r)
	})
}

// Beyond is true when a replica reads a later log than the claim is in.
func (k *Known) Beyond() bool {
	return slices.ContainsFunc(k.Reads, func(r Read) bool { return laterLog(r.File, k.Claim.File) })
}

// ForNone is what an agent without a history is told. What was on record before a restore says
// nothing of what the binary log was since.
func (k Known) ForNone() Known {
	if k.Restored {
		return Known{}
	}
	return k
}

// Before is true when the place of a claim is before that of another one.
func (c Claim) Before(other Claim) bool {
	return laterLog(other.File, c.File) || c.File == other.File && c.Offset < other.Offset
}

// laterLog compares binary logs: MariaDB widens the number in a name, so longer is later.
func laterLog(a, b string) bool {
	return len(a) > len(b) || len(a) == len(b) && a > b
}
