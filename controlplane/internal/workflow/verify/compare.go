package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// sums are the checksums of one side, by table.
type sums map[string]kit.TableChecksum

// comparison is what two sides' checksums at one position say.
type comparison struct {
	equal     sums
	leftOut   sums     // not read on purpose
	different []string // the data differ, unless the primary's table was made again meanwhile
	unsettled []string // could not be compared at this position: look again at another one
}

// compare compares every table of the primary, and the replica's that the primary lacks. A checksum
// counts only where the engine honours the read view; a table that came, went, changed its
// definition meanwhile or could not be read is unsettled, as the two sides were asked at different
// times.
func compare(primary, replica sums) comparison {
	c := comparison{equal: sums{}, leftOut: sums{}}
	for _, name := range slices.Sorted(maps.Keys(union(primary, replica))) {
		a, inPrimary := primary[name]
		b, inReplica := replica[name]
		switch {
		case (!inPrimary || a.Missing) && (!inReplica || b.Missing): // dropped meanwhile
		case a.LeftOut != "" && (!inReplica || b.LeftOut != ""):
			c.leftOut[name] = a
		case !inPrimary || !inReplica || !wasRead(a) || !wasRead(b):
			c.unsettled = append(c.unsettled, name)
		case a.Checksum == b.Checksum && a.DefinitionHash == b.DefinitionHash:
			c.equal[name] = a
		case a.DefinitionHash != b.DefinitionHash || !a.Consistent || !b.Consistent:
			c.unsettled = append(c.unsettled, name)
		default:
			c.different = append(c.different, name)
		}
	}
	return c
}

// wasRead is true for a table that has a checksum.
func wasRead(t kit.TableChecksum) bool {
	return !t.Missing && t.LeftOut == "" && t.Problem == ""
}

func apart(name string, a, b kit.TableChecksum) string {
	return fmt.Sprintf("%s (%d on the primary, %d on the replica)", name, a.Checksum, b.Checksum)
}

// add takes over what a later round says.
func (c *comparison) add(later comparison) {
	maps.Copy(c.equal, later.equal)
	maps.Copy(c.leftOut, later.leftOut)
}

// union has the keys of both.
func union[M ~map[string]V, V any](a, b M) M {
	all := M{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// history is what the rounds saw of a table that could not be settled. What could not be read in a
// round, for a lock perhaps, says nothing of what the table is: the rounds beside it count.
type history struct {
	// primary and replica are the sides as both were read last; read is false until then.
	primary, replica kit.TableChecksum
	read             bool
	// unstable: what it is was not the same in two rounds, on either side.
	unstable bool
	// differs: the sides differ, for sure.
	differs bool
	// failed: the replica could not read it in the latest round.
	failed bool
}

// after is what is known after another round, in which the sides were a and b.
func (h history) after(a, b kit.TableChecksum) history {
	if a.Problem != "" || b.Problem != "" {
		h.failed = b.Problem != ""
		return h
	}
	now := history{primary: a, replica: b, read: true}
	if !h.read {
		return now
	}
	now.unstable = h.unstable || !alike(a, h.primary) || !now.lacks() && !alike(b, h.replica)
	now.differs = now.isApart(h)
	return now
}

// lacks is true for a table that the primary has alone.
func (h history) lacks() bool { return present(h.primary) && !present(h.replica) }

// judge says what to think of tables that stayed unsettled to the end. The data differ where the
// primary's side held still between two rounds and the replica's is another, or where twice the
// replica alone could not read it. Nothing can be told of a table that the primary changes all the
// time or cannot read, that is locked, or that moved: was made or renamed during the last round. A
// lock in the last round takes nothing back of what two rounds before it proved.
func judge(unsettled []string, before map[string]history, moved []string, primary,
	replica sums) (different, open []string) {
	for _, name := range unsettled {
		a, b := primary[name], replica[name]
		was := before[name]
		now := was.after(a, b)
		switch {
		case slices.Contains(moved, name) && a.Problem == "" && b.Problem == "":
			open = append(open, name+" (made or renamed meanwhile)")
		case now.differs:
			different = append(different, now.apart(name))
		case a.Problem != "":
			open = append(open, kit.Sprintf("%s (cannot be read on the primary: %s)", name,
				a.Problem))
		case b.Problem != "" && (b.Busy || !was.failed):
			open = append(open, kit.Sprintf("%s (cannot be read on the replica: %s)", name,
				b.Problem))
		case b.Problem != "":
			different = append(different, kit.Sprintf("%s (cannot be read on the replica: %s)",
				name, b.Problem))
		default:
			open = append(open, fmt.Sprintf("%s (%s: changes all the time)", name,
				cmp.Or(a.Engine, b.Engine, "engine unknown")))
		}
	}
	return different, open
}

// isApart is true where the sides differ, for sure: what the primary has held still in all rounds,
// and so did what the replica has, unless it lacks the table. The primary's definition is read a
// moment after the position at which the replica's is.
func (h history) isApart(before history) bool {
	if alike(h.primary, h.replica) {
		return h.primary.Checksum != h.replica.Checksum &&
			holds(h.primary, before.primary) && holds(h.replica, before.replica)
	}
	return !h.unstable
}

// apart says how two sides differ.
func (h history) apart(name string) string {
	switch {
	case present(h.primary) != present(h.replica):
		return name + " (only on one side)"
	case !alike(h.primary, h.replica):
		return name + " (defined in another way)"
	}
	return apart(name, h.primary, h.replica)
}

func present(t kit.TableChecksum) bool { return t.Table != "" && !t.Missing }

// holds is true for a side whose data were the same in two rounds. Its size says nothing: some
// engines estimate it.
func holds(now, before kit.TableChecksum) bool {
	return alike(now, before) && wasRead(before) && now.Checksum == before.Checksum
}

// alike is true for tables of one definition, and for two that are not there.
func alike(a, b kit.TableChecksum) bool {
	return present(a) == present(b) && a.DefinitionHash == b.DefinitionHash &&
		a.LeftOut == b.LeftOut
}
