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
	equal     int
	bytes     int64
	names     []string // of those that are equal
	different []string // the data differ, for sure
	unsettled []string // could not be compared at this position: look again at another one
}

// compare compares every table of the primary, and the replica's that the primary lacks. A checksum
// counts only where the engine honours the read view; a table that came, went or changed its
// definition meanwhile is unsettled, as the two sides were asked at different times.
func compare(primary, replica sums) comparison {
	var c comparison
	for _, name := range slices.Sorted(maps.Keys(union(primary, replica))) {
		a, inPrimary := primary[name]
		b, inReplica := replica[name]
		switch {
		case inPrimary && inReplica && alike(a, b):
			c.equal++
			c.bytes += a.Bytes
			c.names = append(c.names, name)
		case !inPrimary || !inReplica || a.Missing || b.Missing ||
			a.DefinitionHash != b.DefinitionHash, !a.Consistent || !b.Consistent:
			c.unsettled = append(c.unsettled, name)
		default:
			c.different = append(c.different,
				fmt.Sprintf("%s (%d on the primary, %d on the replica)", name, a.Checksum,
					b.Checksum))
		}
	}
	return c
}

func alike(a, b kit.TableChecksum) bool {
	if a.Missing || b.Missing {
		return a.Missing && b.Missing
	}
	return a.Checksum == b.Checksum && a.DefinitionHash == b.DefinitionHash
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

// judge says what to think of tables that stayed unsettled to the end: where the primary's side
// held still between two rounds and the replica's is another, the data differ; where the primary's
// changed all the time nothing can be told.
func judge(unsettled []string, before map[string]history, primary,
	replica sums) (different, open []string) {
	for _, name := range unsettled {
		a, inPrimary := primary[name]
		b, inReplica := replica[name]
		was, seen := before[name]
		switch {
		case inPrimary != inReplica || a.Missing != b.Missing:
			different = append(different, name+" (only on one side)")
		case a.DefinitionHash != b.DefinitionHash:
			different = append(different, name+" (defined in another way)")
		case seen && was.primary.Checksum == a.Checksum && was.replica.Checksum == b.Checksum &&
			a.Checksum != b.Checksum:
			different = append(different, fmt.Sprintf("%s (%d on the primary, %d on the replica)",
				name, a.Checksum, b.Checksum))
		default:
			open = append(open, fmt.Sprintf("%s (%s)", name, cmp.Or(a.Engine, "engine unknown")))
		}
	}
	return different, open
}
