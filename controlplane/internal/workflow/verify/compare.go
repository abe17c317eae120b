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
	different []string // the data differ, for sure
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
			c.different = append(c.different, apart(name, a, b))
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
	c.different = append(c.different, later.different...)
}

// union has the keys of both.
func union[M ~map[string]V, V any](a, b M) M {
	all := M{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// history is what the rounds before saw of a table that could not be settled.
type history struct {
	primary, replica kit.TableChecksum
}

// judge says what to think of tables that stayed unsettled to the end. The data differ where the
// primary's side held still between two rounds and the replica's is another, or where twice the
// replica alone could not read it. Nothing can be told of a table that the primary changes all the
// time or cannot read, or that is locked.
func judge(unsettled []string, before map[string]history, primary,
	replica sums) (different, open []string) {
	for _, name := range unsettled {
		a, inPrimary := primary[name]
		b, inReplica := replica[name]
		was, seen := before[name]
		switch {
		case a.Problem != "":
			open = append(open, kit.Sprintf("%s (cannot be read on the primary: %s)", name,
				a.Problem))
		case b.Problem != "" && (b.Busy || !seen || was.replica.Problem == ""):
			open = append(open, kit.Sprintf("%s (cannot be read on the replica: %s)", name,
				b.Problem))
		case b.Problem != "":
			different = append(different, kit.Sprintf("%s (cannot be read on the replica: %s)",
				name, b.Problem))
		case inPrimary != inReplica || a.Missing != b.Missing:
			different = append(different, name+" (only on one side)")
		case a.DefinitionHash != b.DefinitionHash || a.LeftOut != b.LeftOut:
			different = append(different, name+" (defined in another way)")
		case seen && was.primary.Checksum == a.Checksum && was.replica.Checksum == b.Checksum &&
			a.Checksum != b.Checksum:
			different = append(different, apart(name, a, b))
		default:
			open = append(open, fmt.Sprintf("%s (%s: changes all the time)", name,
				cmp.Or(a.Engine, "engine unknown")))
		}
	}
	return different, open
}
