package proof

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

const (
	tries      = 6 // readings of a chunk before it is halved
	certain    = 3 // readings in a row that agree on a difference
	mostHalves = 24
	mostSplits = 200 // of a part: hot rows are found among cold ones, but not at any price
	firstRows  = 1000
	mostRows   = 1_000_000 // that an agent cuts
	// mostBusy is how often in a row a table's part may be out of reach before the round leaves the
	// table to the next one.
	mostBusy = 20
)

// busyError says that nothing can be read for the moment.
type busyError struct{ why string }

func (e busyError) Error() string { return e.why }

// work compares one replica with its primary, as long as its budget of the primary's time lasts.
type work struct {
	primary, replica kit.Rows
	of, name         string // of the primary, and of the replica
	rowHash          int    // of the primary's agent
	rec              *Record
	pending          []kit.Table
	maxThreads       int
	used             time.Duration // of the primary's time
	splits           int           // of the chunks of this part
	now              func() time.Time
}

// run goes through the pending tables until the primary's time is used up.
func (w *work) run(ctx context.Context, budget time.Duration) error {
	for len(w.pending) > 0 && w.used < budget {
		table, before := w.pending[0], w.rec.Pass
		done, err := w.part(ctx, table, budget-w.used)
		if err != nil { // the part is compared again
			before.Began, before.Busy = w.rec.Pass.Began, w.rec.Pass.Busy
			w.rec.Pass = before
		}
		if err != nil && !w.skips(table, err) {
			return err
		}
		if done || err != nil {
			w.pending = w.pending[1:]
		}
		w.rec.Pass.Busy = 0
	}
	return nil
}

// skips says whether the round leaves a table to the next one, whose part could not be read too
// often. A part that is refused may have another primary key by now: its pass begins again.
func (w *work) skips(table kit.Table, err error) bool {
	pass := &w.rec.Pass
	switch kind := errs.KindOf(err); {
	case errors.As(err, new(busyError)) || kind == errs.DeadlineExceeded:
		pass.ChunkRows = max(pass.ChunkRows/4, 1)
	case kind == errs.Unavailable || kind == errs.Canceled:
		return false
	default:
		*pass = Pass{Busy: pass.Busy}
	}
	if pass.Busy++; pass.Busy < mostBusy {
		return false
	}
	w.rec.skip(table.Name, table.Rows, err.Error())
	return true
}

// part compares the next chunks of a table; done when they were the last.
func (w *work) part(ctx context.Context, table kit.Table, budget time.Duration) (done bool,
	err error) {
	pass := &w.rec.Pass
	if pass.Began.IsZero() {
		pass.Began, pass.ChunkRows = w.now(), firstRows
	}
	theirs, err := w.ofPrimary(ctx, kit.ChecksumRows{Table: table.Name, After: pass.After,
		Rows: pass.ChunkRows, Budget: max(budget, 10*time.Millisecond)})
	if err != nil {
		return false, err
	}
	if theirs.Unfit != "" {
		w.rec.finish(table.Name, table.Rows, theirs.Unfit)
		return true, nil
	}
	ours, err := w.ofReplica(ctx, table.Name, theirs.GTID, theirs.Sums)
	if err != nil {
		return false, err
	}
	w.splits = 0
	for n, sum := range theirs.Sums {
		pass.Rows += sum.Rows
		if ours.Unfit != "" || !sum.Equal(ours.Sums[n]) {
			if err := w.settle(ctx, table.Name, sum, theirs.GTID, mostHalves); err != nil {
				return false, err
			}
		}
	}
	last := theirs.Sums[len(theirs.Sums)-1]
	pass.After, pass.GTID, pass.ChunkRows = last.Last, theirs.GTID, max(last.Rows, 1)
	if len(last.Last) == 0 {
		w.rec.finish(table.Name, table.Rows, "")
		return true, nil
	}
	return false, nil
}

// ofPrimary reads on the primary, and counts the time that it takes.
func (w *work) ofPrimary(ctx context.Context, req kit.ChecksumRows) (kit.RowSums, error) {
	began := time.Now()
	req.MaxThreads = w.maxThreads
	sums, err := w.primary.ChecksumRows(ctx, req)
	w.used += time.Since(began)
	switch {
	case err != nil:
		return sums, err
	case sums.Busy != "":
		return sums, busyError{"the primary: " + sums.Busy}
	}
	w.rowHash = sums.RowHash
	if sums.Unfit == "" && len(sums.Sums) == 0 {
		return sums, fmt.Errorf("the primary's agent gave no sum of %s", req.Table)
	}
	return sums, nil
}

func (w *work) ofReplica(ctx context.Context, table, at string, chunks []kit.RowSum) (kit.RowSums,
	error) {
	req := kit.ChecksumRows{Table: table, AtGTID: at, MaxThreads: w.maxThreads}
	for _, c := range chunks {
		req.Chunks = append(req.Chunks, c.RowRange)
	}
	sums, err := w.replica.ChecksumRows(ctx, req)
	switch {
	case err != nil:
		return sums, err
	case sums.Busy != "":
		return sums, busyError{"the replica: " + sums.Busy}
	case sums.RowHash != w.rowHash && sums.Unfit == "":
		return sums, kit.Comparable(kit.HashRows, w.of, w.name, w.rowHash, sums.RowHash)
	case sums.Unfit == "" && len(sums.Sums) != len(chunks):
		return sums, fmt.Errorf("the replica's agent gave %d sums of %d chunks of %s",
			len(sums.Sums), len(chunks), table)
	}
	return sums, nil
}

// settle finds out whether a chunk that was read unequal is: the primary is read before and after
// the replica. Where it held still, three times in a row, the chunk differs; where it changes all
// the time the chunk is halved.
func (w *work) settle(ctx context.Context, table string, a kit.RowSum, at string,
	halves int) error {
	var before [2]kit.RowSum
	agreed, unfit := 0, 0
	for range tries {
		ours, err := w.ofReplica(ctx, table, at, []kit.RowSum{a})
		if err != nil {
			return err
		}
		if unfit++; ours.Unfit != "" && unfit == certain {
			w.differs(a, ours.Unfit)
			return nil
		}
		if ours.Unfit != "" {
			again, err := w.again(ctx, table, a.RowRange)
			if err != nil {
				return err
			}
			a, at, agreed = again.Sums[0], again.GTID, 0
			continue
		}
		b := ours.Sums[0]
		unfit = 0
		if b.Equal(a) {
			return nil
		}
		again, err := w.again(ctx, table, a.RowRange)
		if err != nil {
			return err
		}
		c := again.Sums[0]
		switch {
		case b.Equal(c):
			return nil
		case !a.Equal(c):
			agreed = 0
		case agreed > 0 && before[0].Equal(a) && before[1].Equal(b):
			agreed++
		default:
			agreed = 1
		}
		before = [2]kit.RowSum{a, b}
		if agreed == certain {
			w.differs(a, sumText(b))
			return nil
		}
		a, at = c, again.GTID
	}
	return w.halve(ctx, table, a, halves)
}

// again reads a chunk on the primary once more. A table that is gone by now is settled by the next
// round.
func (w *work) again(ctx context.Context, table string, c kit.RowRange) (kit.RowSums, error) {
	sums, err := w.ofPrimary(ctx, kit.ChecksumRows{Table: table, Chunks: []kit.RowRange{c}})
	if err == nil && sums.Unfit != "" {
		return sums, busyError{"the primary: " + sums.Unfit}
	}
	return sums, err
}

// halve compares the halves of a chunk, down to a hot row alone: the cold ones beside it are
// compared.
func (w *work) halve(ctx context.Context, table string, a kit.RowSum, halves int) error {
	if w.splits++; a.Rows < 2 || halves == 0 || w.splits > mostSplits {
		w.rec.Pass.Open += max(a.Rows, 1)
		return nil
	}
	cut, err := w.ofPrimary(ctx, kit.ChecksumRows{Table: table, After: a.After,
		Rows: min(a.Rows/2, mostRows), Budget: time.Millisecond})
	if err != nil {
		return err
	}
	if cut.Unfit != "" {
		w.rec.Pass.Open += a.Rows
		return nil
	}
	half := cut.Sums[0]
	if len(half.Last) == 0 { // it has lost half of its rows meanwhile
		return w.rest(ctx, table, a.RowRange, halves-1)
	}
	if err := w.settle(ctx, table, half, cut.GTID, halves-1); err != nil {
		return err
	}
	return w.rest(ctx, table, kit.RowRange{After: half.Last, Last: a.Last}, halves-1)
}

func (w *work) rest(ctx context.Context, table string, c kit.RowRange, halves int) error {
	rest, err := w.again(ctx, table, c)
	if err != nil {
		return err
	}
	return w.settle(ctx, table, rest.Sums[0], rest.GTID, halves)
}

func (w *work) differs(a kit.RowSum, replica string) {
	w.rec.Pass.Seen = w.now()
	if len(w.rec.Pass.Different) < mostDifferences {
		w.rec.Pass.Different = append(w.rec.Pass.Different, Difference{RowRange: a.RowRange,
			Primary: sumText(a), Replica: replica})
	}
}

func sumText(s kit.RowSum) string { return fmt.Sprintf("%d rows, sum %s", s.Rows, s.Sum) }
