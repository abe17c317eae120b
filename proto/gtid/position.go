package gtid

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Position is a replication position: in each domain, the last transaction that is in. The zero
// value is the empty position, before everything. A Position is a value: its methods change
// nothing.
type Position struct {
	last []GTID // sorted by domain, one each
}

// Relation says how two positions lie to each other.
type Relation int

// The relations of a position to another one.
const (
	// Equal: the same transactions are in.
	Equal Relation = iota
	// Behind: the other one has all of this one's transactions, and more.
	Behind
	// Ahead: this one has all of the other's transactions, and more.
	Ahead
	// Diverged: each has something that the other lacks, or they name different transactions by the
	// same number.
	Diverged
)

// String is the relation in a word.
func (r Relation) String() string {
	switch r {
	case Equal:
		return "equal"
	case Behind:
		return "behind"
	case Ahead:
		return "ahead"
	default:
		return "diverged"
	}
}

// ParsePosition reads a list like "0-1-100,1-2-7", as in @@gtid_slave_pos. Spaces and line breaks
// around the commas are allowed, the empty text is the empty position, and two GTIDs of one domain
// are an error. The server itself takes a sign or a blank before a number and no blanks behind one;
// in all else both read the same.
func ParsePosition(text string) (Position, error) {
	all, err := parseList(text)
	if err != nil {
		return Position{}, err
	}
	slices.SortFunc(all, func(a, b GTID) int { return cmp.Compare(a.Domain, b.Domain) })
	for i := 1; i < len(all); i++ {
		if all[i].Domain == all[i-1].Domain {
			return Position{}, fmt.Errorf("malformed position %q: domain %d comes twice",
				clip(text), all[i].Domain)
		}
	}
	return Position{last: all}, nil
}

// ParseState reads @@gtid_binlog_state, which names the last transaction of every server in every
// domain, and answers the position that it amounts to: in each domain the one that is named last,
// which is the one that was written last. Its number is the highest only where gtid_strict_mode
// sees to it.
func ParseState(text string) (Position, error) {
	all, err := parseList(text)
	if err != nil {
		return Position{}, err
	}
	written := map[uint32]GTID{}
	for _, g := range all {
		written[g.Domain] = g
	}
	return Of(slices.Collect(maps.Values(written))...), nil
}

// Of is the position after these transactions; of two in one domain the later one counts.
func Of(gtids ...GTID) Position {
	sorted := slices.Clone(gtids)
	slices.SortStableFunc(sorted, func(a, b GTID) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(b.Sequence, a.Sequence))
	})
	return Position{last: slices.CompactFunc(sorted,
		func(a, b GTID) bool { return a.Domain == b.Domain })}
}

func parseList(text string) ([]GTID, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var all []GTID
	for item := range strings.SplitSeq(text, ",") {
		g, err := Parse(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// String is the position as MariaDB writes it, domains ascending.
func (p Position) String() string {
	said := make([]string, len(p.last))
	for i, g := range p.last {
		said[i] = g.String()
	}
	return strings.Join(said, ",")
}

// IsEmpty tells whether nothing is in.
func (p Position) IsEmpty() bool { return len(p.last) == 0 }

// GTIDs are the last transactions of all domains, domains ascending.
func (p Position) GTIDs() []GTID { return slices.Clone(p.last) }

// Domain is the last transaction of a domain, and whether there is one.
func (p Position) Domain(domain uint32) (GTID, bool) {
	i, found := slices.BinarySearchFunc(p.last, domain,
		func(g GTID, d uint32) int { return cmp.Compare(g.Domain, d) })
	if !found {
		return GTID{}, false
	}
	return p.last[i], true
}

// Equal tells whether both name the same transactions, server ids included.
func (p Position) Equal(other Position) bool { return slices.Equal(p.last, other.last) }

// Contains tells whether a server at p has all that one at other has: in each of other's domains it
// is as far or farther by number. The same number from two servers names two transactions, so
// neither contains the other.
func (p Position) Contains(other Position) bool {
	for _, theirs := range other.last {
		ours, found := p.Domain(theirs.Domain)
		if !found || ours.Sequence < theirs.Sequence {
			return false
		}
		if ours.Sequence == theirs.Sequence && ours.ServerID != theirs.ServerID {
			return false
		}
	}
	return true
}

// Compare tells how p lies to other.
func (p Position) Compare(other Position) Relation {
	switch ahead, behind := p.Contains(other), other.Contains(p); {
	case ahead && behind:
		return Equal
	case ahead:
		return Ahead
	case behind:
		return Behind
	default:
		return Diverged
	}
}

// Missing is how many transactions of target are not in p, summed over its domains; 0 when p
// contains it by number. Numbers may have gaps, so it is an upper bound.
func (p Position) Missing(target Position) uint64 {
	var sum uint64
	for _, theirs := range target.last {
		ours, _ := p.Domain(theirs.Domain)
		if theirs.Sequence > ours.Sequence {
			sum = saturate(sum, theirs.Sequence-ours.Sequence)
		}
	}
	return sum
}

// Beyond is the part of p that other does not have: the transactions in p's domains past other's. A
// replica's position beyond its primary's is errant.
func (p Position) Beyond(other Position) Position {
	var rest []GTID
	for _, ours := range p.last {
		theirs, found := other.Domain(ours.Domain)
		if !found || ours.Sequence > theirs.Sequence || ours.Sequence == theirs.Sequence &&
			ours.ServerID != theirs.ServerID {
			rest = append(rest, ours)
		}
	}
	return Position{last: rest}
}

// Union is the position after both: of each domain the later transaction.
func (p Position) Union(other Position) Position {
	return Of(append(p.GTIDs(), other.last...)...)
}

// Between checks low <= p <= high; the error says which side it lies on.
func (p Position) Between(low, high Position) error {
	switch {
	case !p.Contains(low):
		return errors.New("position " + quote(p) + " is before " + quote(low))
	case !high.Contains(p):
		return errors.New("position " + quote(p) + " is past " + quote(high))
	default:
		return nil
	}
}

func quote(p Position) string {
	if p.IsEmpty() {
		return "(empty)"
	}
	return p.String()
}

// MarshalText is String, so that positions can be stored as text.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParsePosition.
func (p *Position) UnmarshalText(text []byte) error {
	parsed, err := ParsePosition(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}

func saturate(a, b uint64) uint64 {
	if a+b < a {
		return ^uint64(0)
	}
	return a + b
}
