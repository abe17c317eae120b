package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// objects are one side's, by kind and name.
type objects map[string]kit.Object

func key(o kit.Object) string { return o.Kind + " " + o.Name }

// Lister reads the objects of a server.
type Lister interface {
	Inventory(ctx context.Context, names []string, each func(kit.Object)) (digests int, err error)
}

// Inventories compares the inventories of two servers.
type Inventories struct {
	Primary, Replica Lister
	// Of and With are the names of the primary and of the replica.
	Of, With string
	// Pass takes a position of the primary and waits until the replica has applied it.
	Pass func(ctx context.Context) (gtid string, err error)
	// Newer says that the replica's MariaDB is of another series.
	Newer bool
	// Found tells what operators may want to know.
	Found func(format string, args ...any)
}

// Compared is the outcome for all objects: those that differ, and those that are locked or change
// all the time.
type Compared struct {
	At        string
	Total     int
	Different replication.Differences
	Open      []string
}

// Compare compares every object of the primary and of the replica, whose tables are opened by that.
// The primary is read first; the replica is read when it has applied what the primary had then.
// Both serve meanwhile, so an object that differs may have been changed in between: it is read
// again, at a later position.
func (i Inventories) Compare(ctx context.Context) (c Compared, err error) {
	var names []string
	seen := map[string]sighting{}
	for round := 1; ; round++ {
		primary, theirs, err := inventoryOf(ctx, i.Primary, names)
		if err != nil {
			return c, fmt.Errorf("cannot read the inventory of the primary: %w", err)
		}
		if c.At, err = i.Pass(ctx); err != nil {
			return c, err
		}
		replica, ours, err := inventoryOf(ctx, i.Replica, names)
		if err != nil {
			return c, fmt.Errorf("cannot read the inventory of the replica: %w", err)
		}
		if err := kit.Comparable(kit.DigestObjects, i.Of, i.With, theirs, ours); err != nil {
			return c, err
		}
		if round == 1 {
			c.Total = len(primary)
		}
		unequal := i.unequal(primary, replica)
		now := map[string]sighting{}
		for _, name := range unequal {
			now[name] = seen[name].after(primary[name], replica[name])
		}
		seen = now
		if len(unequal) == 0 || round == rounds {
			c.judge(seen)
			return c, nil
		}
		i.Found("%d objects differ at %s: read again at another position", len(unequal), c.At)
		names = namesOf(unequal, primary, replica)
	}
}

func inventoryOf(ctx context.Context, server Lister, names []string) (all objects, digests int,
	err error) {
	all = objects{}
	digests, err = server.Inventory(ctx, names, func(o kit.Object) { all[key(o)] = o })
	return all, digests, err
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
func (i Inventories) unequal(primary, replica objects) []string {
	var unequal, told, closed []string
	for _, name := range slices.Sorted(maps.Keys(union(primary, replica))) {
		a, b := primary[name], replica[name]
		if a.Problem != "" && b.Problem != "" && !a.Busy && !b.Busy {
			closed = append(closed, name+" ("+a.Problem+")")
			continue // one that cannot be opened on the primary is no better on its copy
		}
		if a == b && !a.Busy && !untold(a) {
			continue
		}
		kind := cmp.Or(a.Kind, b.Kind)
		reason := lawful[kind]
		if reason == "" && i.Newer && b.Problem == "" {
			reason = upgraded[kind]
		}
		if reason == "" {
			unequal = append(unequal, name)
			continue
		}
		told = append(told, name+" ("+reason+")")
	}
	if len(told) > 0 {
		i.Found("differs lawfully: %s", kit.SomeOf(told, 5))
	}
	if len(closed) > 0 {
		i.Found("cannot be opened on the primary, nor on its copy: %s", kit.SomeOf(closed, 5))
	}
	return unequal
}

// untold is true for an object whose agent tells neither what it is nor why.
func untold(o kit.Object) bool { return o.Kind != "" && o.Digest == "" && o.Problem == "" }

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

// sighting is what the rounds saw of an object that stays unequal. A round that met a lock says
// nothing of it: the rounds beside it count.
type sighting struct {
	primary, replica kit.Object // as both were read last
	read             bool
	differs          bool // the primary's was the same in two rounds, and the replica's another
}

// after is what is known after another round, in which the sides were a and b.
func (s sighting) after(a, b kit.Object) sighting {
	if a.Busy || b.Busy || untold(a) && untold(b) {
		return s
	}
	return sighting{primary: a, replica: b, read: true, differs: s.read && a == s.primary}
}

// judge says what stayed unequal to the end: an object of the primary that is locked or changes all
// the time cannot be compared, any other differs.
func (c *Compared) judge(seen map[string]sighting) {
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		a, b := seen[name].primary, seen[name].replica
		why := ""
		switch {
		case !seen[name].differs:
			c.Open = append(c.Open, name)
			continue
		case b.Problem != "":
			why = "cannot be opened: " + b.Problem
		case a.Problem != "":
			why = "cannot be opened on the primary: " + a.Problem
		case a.Kind == "":
			why = "on the replica alone"
		case b.Kind == "":
			why = "on the primary alone"
		case a.Value != b.Value:
			why = kit.Sprintf("%s on the primary, %s on the replica", a.Value, b.Value)
		case a.Kind == "time zones":
			why = "other rules on the replica"
		default:
			why = "defined in another way"
		}
		c.Different.Found = append(c.Different.Found, name+" ("+why+")")
		if helps := remedy(a, b); !slices.Contains(c.Different.Remedies, helps) {
			c.Different.Remedies = append(c.Different.Remedies, helps)
		}
	}
}

// remedy is what helps against a difference of an object. A fresh copy has the tables of other
// servers too, and the collations that its host has.
func remedy(a, b kit.Object) replication.Remedy {
	switch {
	case a.Remote || b.Remote:
		return replication.RemedyRemote
	case b.Problem != "":
		return replication.RemedyRebuild
	}
	switch cmp.Or(a.Kind, b.Kind) {
	case "time zones":
		return replication.RemedyZones
	case "collation":
		return replication.RemedyCollations
	}
	return replication.RemedyRebuild
}

// compareInventory compares the pair's, and answers with the position of the comparison.
func (c *comparer) compareInventory(ctx context.Context) (at string, err error) {
	got, err := Inventories{Primary: c.Primary.Agent, Replica: c.Agent, Of: c.Primary.Name,
		With: c.Srv.Name, Pass: c.PassTarget,
		Newer: replication.Series(c.St.ServerVersion) !=
			replication.Series(c.Primary.Status.ServerVersion), Found: c.Found}.Compare(ctx)
	if err != nil {
		return "", err
	}
	if c.open += len(got.Open); len(got.Open) > 0 {
		c.Found("%d objects are locked or change all the time, and were not compared: %s",
			len(got.Open), kit.SomeOf(got.Open, 5))
	}
	if len(got.Different.Found) > 0 {
		return "", c.differs(got.At, "objects", got.Different)
	}
	c.Found("compared the definitions of %d objects and opened all tables at %s: 0 mismatches",
		got.Total, got.At)
	return got.At, nil
}
