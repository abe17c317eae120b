package verify

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// objects are one side's, by kind and name.
type objects map[string]kit.Object

func key(o kit.Object) string { return o.Kind + " " + o.Name }

// compareInventory compares every object of the primary and of the replica, whose tables are opened
// by that. The primary is read first; the replica is read when it has applied what the primary had
// then. Both serve meanwhile, so an object that differs may have been changed in between: it is
// read again, at a later position. It answers with the last position.
func (c *comparer) compareInventory(ctx context.Context) (at string, err error) {
	var names []string
	var before objects
	total := 0
	for round := 1; ; round++ {
		primary, err := c.inventoryOf(ctx, c.Primary.Name, c.Primary.Agent, names)
		if err != nil {
			return "", err
		}
		if at, err = c.PassTarget(ctx); err != nil {
			return "", err
		}
		replica, err := c.inventoryOf(ctx, c.Srv.Name, c.Agent, names)
		if err != nil {
			return "", err
		}
		if round == 1 {
			total = len(primary)
		}
		unequal := c.unequal(primary, replica)
		if len(unequal) == 0 || round == rounds {
			return at, c.tellInventory(at, total, unequal, primary, replica, before)
		}
		c.Found("%d objects differ at %s: read again at another position", len(unequal), at)
		names, before = namesOf(unequal, primary, replica), primary
	}
}

func (c *comparer) inventoryOf(ctx context.Context, server string, agent kit.Agent,
	names []string) (objects, error) {
	all := objects{}
	err := agent.Inventory(ctx, names, func(o kit.Object) { all[key(o)] = o })
	return all, wrap(err, "cannot read the inventory of %s", server)
}

// lawful are differences that are no fault of the copy, by the kind of object, with the reason.
var lawful = map[string]string{
	"linked server": "CREATE SERVER is not replicated",
}

// upgraded are those of a replica whose MariaDB is of a later series.
var upgraded = map[string]string{
	"grants": "the upgrade gives accounts what was part of older privileges",
}

// unequal are the objects that are not the same on both sides, but for lawful differences, which
// are told.
func (c *comparer) unequal(primary, replica objects) []string {
	var unequal, told []string
	newer := replication.Series(c.St.ServerVersion) !=
		replication.Series(c.Primary.Status.ServerVersion)
	for _, name := range slices.Sorted(maps.Keys(union(primary, replica))) {
		a, b := primary[name], replica[name]
		if a == b && !a.Busy || a.Problem != "" && b.Problem != "" && !a.Busy && !b.Busy {
			continue // one that cannot be opened on the primary is no better on its copy
		}
		kind := cmp.Or(a.Kind, b.Kind)
		reason := lawful[kind]
		if reason == "" && newer && b.Problem == "" {
			reason = upgraded[kind]
		}
		if reason == "" {
			unequal = append(unequal, name)
			continue
		}
		told = append(told, name+" ("+reason+")")
	}
	if len(told) > 0 {
		c.Found("differs lawfully: %s", kit.SomeOf(told, 5))
	}
	return unequal
}

// mostNamed is how many objects are named in a request; of more, all are read.
const mostNamed = 10000

func namesOf(unequal []string, primary, replica objects) []string {
	if len(unequal) > mostNamed {
		return nil
	}
	names := make([]string, 0, len(unequal))
	for _, name := range unequal {
		names = append(names, cmp.Or(primary[name].Name, replica[name].Name))
	}
	return slices.Compact(names)
}

// tellInventory says what stayed unequal to the end: an object of the primary that is locked or
// changes all the time cannot be compared, any other differs.
func (c *comparer) tellInventory(at string, total int, unequal []string, primary, replica,
	before objects) error {
	var different, open []string
	for _, name := range unequal {
		a, b := primary[name], replica[name]
		switch {
		case a.Busy || b.Busy || a != before[name]:
			open = append(open, name)
		case b.Problem != "":
			different = append(different, name+" (cannot be opened: "+b.Problem+")")
		case a.Kind == "":
			different = append(different, name+" (on the replica alone)")
		case b.Kind == "":
			different = append(different, name+" (on the primary alone)")
		case a.Value != b.Value:
			different = append(different, kit.Sprintf("%s (%s on the primary, %s on the replica)",
				name, a.Value, b.Value))
		default:
			different = append(different, name+" (defined in another way)")
		}
	}
	if len(open) > 0 {
		c.Found("%d objects are locked or change all the time, and were not compared: %s",
			len(open), kit.SomeOf(open, 5))
	}
	if len(different) > 0 {
		return c.differs(at, "objects", different)
	}
	c.Found("compared the definitions of %d objects and opened all tables at %s: 0 mismatches",
		total, at)
	return nil
}
