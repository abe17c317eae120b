package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	sampleBytes = 256 << 20 // of tables that are compared at level sample
	// for which the primary reads them: its read view stays open for that
	sampleTime = 30 * time.Second
	// in which tables that could not be compared at one position are tried at another
	rounds     = 4
	resumeTime = time.Minute
)

// comparer compares one pair.
type comparer struct {
	*host.Pair
	level inventory.VerifyLevel
	open  int // tables and objects that could not be compared
}

// Compare compares a replica with its primary to a level and dates the result; each level includes
// the inventory. A difference is an error (DATA_MISMATCH), with the level of a verification that
// can prove it to be over. Replication goes on afterwards, whatever came out.
func Compare(ctx context.Context, p *host.Pair,
	level inventory.VerifyLevel) (inventory.Verification, error) {
	c := &comparer{Pair: p, level: level}
	target, err := c.compareInventory(ctx)
	if err != nil {
		return inventory.Verification{Level: inventory.VerifyPosition}, err
	}
	p.Found("passed the target position %s", target)
	if level != inventory.VerifyPosition {
		target, err = c.compareTables(ctx)
		if err = errors.Join(err, c.goOn(ctx, err == nil)); err != nil {
			return inventory.Verification{Level: inventory.VerifyFull}, err
		}
	}
	if _, doubted := p.Srv.UnprovedData(); doubted && c.open > 0 {
		p.Found("that leaves it %s: stop what changes or locks them and verify it again, or "+
			"rebuild it", replication.DataUnproved)
	}
	return inventory.Verification{Level: level, GTID: target, Time: p.Now(), Open: c.open}, nil
}

// goOn makes the replica go on: a comparison stops it at a position. It is tried also when the step
// is being stopped, and when there is a difference to be told, for resumeTime.
func (c *comparer) goOn(ctx context.Context, equal bool) error {
	if equal {
		if err := c.UntilRunning(ctx); ctx.Err() == nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resumeTime)
	defer cancel()
	return c.UntilRunning(ctx)
}

// compareTables compares all tables, or a sample, at one position, and those that it could not
// settle at later ones.
func (c *comparer) compareTables(ctx context.Context) (at string, err error) {
	ask := kit.ChecksumTables{}
	if c.level == inventory.VerifySample {
		ask.SampleBytes, ask.SampleSeed = sampleBytes, seed(c.JobID)
		ask.SampleTime = sampleTime
	}
	var listed []kit.Table // before the round
	if c.level == inventory.VerifyFull {
		if listed, err = c.listed(ctx); err != nil {
			return "", err
		}
	}
	total := comparison{equal: sums{}, leftOut: sums{}}
	seen := map[string]history{}
	for round := 1; ; round++ {
		r, err := c.sumsAt(ctx, ask)
		if err != nil {
			return "", err
		}
		got := compare(r.primary, r.replica)
		total.add(got)
		var now []kit.Table
		if c.level == inventory.VerifyFull || len(got.different)+len(got.unsettled) > 0 {
			if now, err = c.listed(ctx); err != nil {
				return "", err
			}
		}
		moved, again := c.moved(listed, now, got)
		listed = now
		for _, name := range got.different {
			if !slices.Contains(moved, name) {
				total.different = append(total.different, apart(name, r.primary[name],
					r.replica[name]))
			}
		}
		if len(got.unsettled)+len(again) == 0 || len(total.different) > 0 || round == rounds {
			different, open := judge(got.unsettled, seen, moved, r.primary, r.replica)
			for _, name := range again {
				open = append(open, name+" (made or renamed meanwhile)")
			}
			total.different = append(total.different, different...)
			return r.at, c.tell(r.at, total, open)
		}
		for _, name := range got.unsettled {
			seen[name] = seen[name].after(r.primary[name], r.replica[name])
		}
		ask = kit.ChecksumTables{Tables: slices.Concat(got.unsettled, again),
			SampleTime: ask.SampleTime}
		c.Found("%d tables could not be compared at %s: tried again at another position",
			len(ask.Tables), r.at)
		if _, err := c.PassTarget(ctx); err != nil {
			return "", err
		}
	}
}

// listed are the tables of the primary.
func (c *comparer) listed(ctx context.Context) ([]kit.Table, error) {
	all, err := c.Primary.Agent.Tables(ctx)
	return all, wrap(err, "cannot list the tables of %s", c.Primary.Name)
}

// moved are the tables that were made, renamed or made again since they were listed, or that were
// not listed, and those of them that have to be compared again. MariaDB may read one that was made
// again as an empty one. A verification of all has to compare each: one that was renamed is under
// neither name when it is its turn.
func (c *comparer) moved(listed, now []kit.Table, got comparison) (moved, again []string) {
	for _, t := range kit.Moved(kit.Listed(listed), now) {
		moved = append(moved, t.Name)
		if slices.Contains(got.different, t.Name) ||
			c.level == inventory.VerifyFull && !slices.Contains(got.unsettled, t.Name) {
			again = append(again, t.Name)
		}
	}
	return moved, again
}

func (c *comparer) tell(at string, total comparison, open []string) error {
	c.open += len(open)
	if len(open) > 0 && len(total.different) == 0 && c.AllowsAnyHistory() {
		return c.notAll(open)
	}
	if len(open) > 0 {
		c.Found("%d tables were not compared: %s", len(open), kit.SomeOf(open, 5))
	}
	if len(total.different) > 0 {
		return c.differs(at, "tables", replication.Differences{Found: total.different})
	}
	if c.level == inventory.VerifySample && len(total.equal) > 0 {
		c.Found("the sample is %s", kit.SomeOf(slices.Sorted(maps.Keys(total.equal)), 10))
	}
	c.tellLeftOut(total.leftOut)
	c.Found("compared %d tables, %s, at %s: 0 mismatches", len(total.equal),
		kit.Size(bytesOf(total.equal)), at)
	return nil
}

// tellLeftOut says which tables were not read on purpose.
func (c *comparer) tellLeftOut(leftOut sums) {
	if len(leftOut) == 0 {
		return
	}
	names := slices.SortedFunc(maps.Keys(leftOut), func(a, b string) int {
		return cmp.Or(cmp.Compare(leftOut[b].Bytes, leftOut[a].Bytes), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = kit.Sprintf("%s (%s: %s)", name, kit.Size(leftOut[name].Bytes),
			leftOut[name].LeftOut)
	}
	c.Found("left out %d tables, %s: %s", len(names), kit.Size(bytesOf(leftOut)),
		kit.SomeOf(names, 10))
}

func bytesOf(tables sums) (all int64) {
	for _, t := range tables {
		all += t.Bytes
	}
	return all
}

// differs is the refusal of a replica that is no copy of its primary.
func (c *comparer) differs(at, what string, d replication.Differences) error {
	helps := replication.Helps(c.Srv.Name, c.Primary.Name, d.Remedies, kit.RetryThis())
	return kit.Refuse(errorsv1.Reason_REASON_DATA_MISMATCH,
		kit.Hint("do not read from it; "+helps.Text, helps.Actions...),
		"%s differs from %s in %d %s at %s: %s", c.Srv.Name, c.Primary.Name,
		len(d.Found), what, at, kit.SomeOf(d.Found, 10))
}

// reading is what both sides said of their tables at one position.
type reading struct {
	at               string
	primary, replica sums
	rowHash          int // of the primary's agent
}

// sumsAt reads both sides' checksums at one position: the replica is stopped before the primary's
// read view is taken, then applies exactly up to it. The primary is never held up.
func (c *comparer) sumsAt(ctx context.Context, ask kit.ChecksumTables) (reading, error) {
	if err := c.Stop(ctx, true); err != nil {
		return reading{}, err
	}
	r := reading{primary: sums{}, replica: sums{}}
	meter := &meter{call: c.Call}
	view, complete := make(chan string, 1), make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(complete)
		err := c.Primary.Agent.ChecksumTables(ctx, ask, func(b kit.ChecksumBegin) {
			meter.begin(b)
			r.rowHash = b.RowHash
			view <- b.GTID
		}, func(t kit.TableChecksum) {
			r.primary[t.Table] = t
			meter.add()
		})
		return wrap(err, "cannot read the checksums of %s", c.Primary.Name)
	})
	group.Go(func() error {
		r.at = viewOf(view, complete)
		return c.replicaSums(ctx, ask, &r, complete, meter)
	})
	return r, group.Wait()
}

// viewOf is the position of the primary's read view; empty when it came to none.
func viewOf(view <-chan string, complete <-chan struct{}) string {
	select {
	case gtid := <-view:
		return gtid
	case <-complete:
	}
	select {
	case gtid := <-view:
		return gtid
	default:
		return ""
	}
}

// replicaSums brings the replica to the position of the primary's read view and reads its checksums
// there. Of a sample the primary says first which tables it took.
func (c *comparer) replicaSums(ctx context.Context, ask kit.ChecksumTables, r *reading,
	complete <-chan struct{}, meter *meter) error {
	if r.at == "" {
		return errors.New("the primary gave no position for its checksums")
	}
	if _, _, err := c.Agent.StartReplication(ctx, r.at, c.LeftFor(ctx),
		c.FencingToken()); err != nil {
		return fmt.Errorf("cannot bring %s to exactly %s: %w", c.Srv.Name, r.at, err)
	}
	tables := ask.Tables
	if ask.SampleTime > 0 {
		select {
		case <-complete:
		case <-ctx.Done():
			return ctx.Err()
		}
		if tables = r.sample(); len(tables) == 0 {
			return nil
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mixed error
	err := c.Agent.ChecksumTables(ctx, kit.ChecksumTables{AtGTID: r.at, Tables: tables},
		func(b kit.ChecksumBegin) {
			if b.RowHash != r.rowHash {
				mixed = kit.Comparable(kit.HashRows, c.Primary.Name, c.Srv.Name, r.rowHash,
					b.RowHash)
				cancel()
			}
		}, func(t kit.TableChecksum) { r.replica[t.Table] = t; meter.add() })
	return cmp.Or(mixed, wrap(err, "cannot read the checksums of %s", c.Srv.Name))
}

// sample are the tables that the primary took.
func (r *reading) sample() []string {
	taken := maps.Clone(r.primary)
	maps.DeleteFunc(taken, func(_ string, t kit.TableChecksum) bool { return t.LeftOut != "" })
	return slices.Sorted(maps.Keys(taken))
}

// meter tells how many tables are done, of both sides.
type meter struct {
	call  *kit.Call
	mu    sync.Mutex
	done  int64
	total int64
	text  string
}

func (m *meter) begin(b kit.ChecksumBegin) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total, m.text = 2*int64(b.Tables), fmt.Sprintf("comparing %d tables, %s, at %s", b.Tables,
		kit.Size(b.Bytes), b.GTID)
}

func (m *meter) add() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done++
	m.call.Progress(job.Progress{Done: m.done, Total: max(m.total, m.done), Unit: "tables",
		Text: m.text})
}

func seed(key string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return int64(h.Sum64() >> 1)
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(kit.Sprintf(format, args...)+": %w", err)
}
