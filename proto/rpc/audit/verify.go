package audit

import (
	"fmt"
	"maps"
	"slices"
)

// mostProblems is where looking for more stops.
const mostProblems = 100

// Problem is where a chain is not what was written.
type Problem struct {
	// Seq is the record at which it shows.
	Seq int64
	// Text says what is wrong.
	Text string
}

// Verifier reads a chain from its oldest record on, and notes what is wrong with it.
type Verifier struct {
	chain    string
	noted    map[int64]string
	head     Head
	first    Record
	count    int64
	open     map[int64]struct{}
	pruned   Head
	problems []Problem
}

// NewVerifier reads the chain of that name. Noted are heads that the chain had once, as they were
// written down elsewhere: without them a chain whose tail was cut off looks whole.
func NewVerifier(chain string, noted ...Head) *Verifier {
	v := &Verifier{chain: chain, noted: map[int64]string{}, open: map[int64]struct{}{}}
	for _, head := range noted {
		if old, twice := v.noted[head.Seq]; twice && old != head.Hash {
			v.Fault(head.Seq, "it was noted with two hashes: %s and %s", old, head.Hash)
		}
		if head.Seq > 0 {
			v.noted[head.Seq] = head.Hash
		}
	}
	return v
}

// PrunedThrough says that the records up to that one were removed in order.
func (v *Verifier) PrunedThrough(last Head) {
	if last.Seq > v.pruned.Seq {
		v.pruned = last
	}
}

// Fault notes what else is wrong with a record, as fmt.Sprintf has it.
func (v *Verifier) Fault(seq int64, format string, args ...any) {
	if len(v.problems) < mostProblems {
		v.problems = append(v.problems, Problem{Seq: seq, Text: fmt.Sprintf(format, args...)})
	}
}

// Add reads the next line. After a problem it goes on with what the line says of itself.
func (v *Verifier) Add(line Line) {
	v.count++
	r, err := line.Read()
	if err != nil {
		v.Fault(v.head.Seq+1, "it cannot be read: %v", err)
		v.head = Head{Seq: v.head.Seq + 1, Hash: line.Hash}
		return
	}
	hash := sum(line.Record)
	switch {
	case hash != line.Hash:
		v.Fault(r.Seq, "it was changed: its hash is %s, and %s was written with it", hash,
			line.Hash)
	case v.noted[r.Seq] != "" && v.noted[r.Seq] != hash:
		v.Fault(r.Seq, "it was replaced: its hash is %s, and %s was noted", hash, v.noted[r.Seq])
	}
	v.follow(r)
	v.head = Head{Seq: r.Seq, Hash: line.Hash}
	switch r.Kind {
	case Begin:
		v.open[r.Seq] = struct{}{}
	case End:
		delete(v.open, r.Of)
	case Pruned:
		if r.Chain == v.chain {
			v.PrunedThrough(Head{Seq: r.Through, Hash: r.Hash})
		}
	}
}

// follow compares a record with the one before it.
func (v *Verifier) follow(r Record) {
	switch {
	case v.count == 1:
		v.first = r
	case r.Seq > v.head.Seq+1:
		v.Fault(v.head.Seq+1, "records %d to %d are missing", v.head.Seq+1, r.Seq-1)
	case r.Seq != v.head.Seq+1:
		v.Fault(r.Seq, "it stands behind record %d", v.head.Seq)
	case r.Prev != v.head.Hash:
		v.Fault(r.Seq, "it does not follow the record before it: one of them was replaced")
	}
}

// Result is what a Verifier found.
type Result struct {
	// Count is how many records were read, and First the number of the first of them.
	Count, First int64
	// Head is the last of them.
	Head Head
	// Open are calls without an outcome: they are under way, or their program ended meanwhile.
	Open []int64
	// Problems are what is wrong; none of a chain that is whole.
	Problems []Problem
}

// Finish says what was found in all of the chain.
func (v *Verifier) Finish() Result {
	switch first, origin := v.first, Origin(v.chain); {
	case v.count == 0:
	case first.Seq == 1:
		if first.Prev != origin.Hash {
			v.Fault(1, "it is the first record of another chain than %s", v.chain)
		}
	case v.pruned.Seq < first.Seq-1:
		v.Fault(v.pruned.Seq+1, "records %d to %d are missing", v.pruned.Seq+1, first.Seq-1)
	case v.pruned.Seq == first.Seq-1 && v.pruned.Hash != first.Prev:
		v.Fault(first.Seq, "it does not follow what was pruned before it")
	}
	for _, seq := range slices.Sorted(maps.Keys(v.noted)) {
		if seq > v.head.Seq && seq > v.pruned.Seq {
			v.Fault(v.head.Seq+1, "the end was cut off: record %d was noted, and the last one is "+
				"%d", seq, v.head.Seq)
		}
	}
	slices.SortStableFunc(v.problems, func(a, b Problem) int { return int(a.Seq - b.Seq) })
	return Result{Count: v.count, First: v.first.Seq, Head: v.head,
		Open: slices.Sorted(maps.Keys(v.open)), Problems: v.problems}
}
