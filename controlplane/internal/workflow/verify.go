package workflow

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	sampleBytes = 256 << 20 // of tables that are compared at level sample
	// in which tables that could not be compared at one position are tried at another
	rounds     = 4
	resumeTime = time.Minute
)

// verify compares the data to the level asked for. Replication goes on afterwards, whatever came
// out.
func (s *step) verify(ctx context.Context) (outcome, error) {
	p, err := s.pair(ctx)
	if err != nil {
		return outcome{}, err
	}
	fence, err := s.passFence(ctx, p)
	if err != nil {
		return outcome{}, err
	}
	s.Found("passed the fence %s", fence)
	if s.args.Verify == VerifyPosition {
		return done(nil)
	}
	err = s.compareTables(ctx, p)
	if err = errors.Join(err, s.resume(ctx, p)); err != nil {
		return outcome{}, err
	}
	return done(nil)
}

// resume makes the replica go on: verification stops it at a position. It is done also when the
// step is being stopped.
func (s *step) resume(ctx context.Context, p *pair) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resumeTime)
	defer cancel()
	return s.untilRunning(ctx, p)
}

// compareTables compares all tables, or a sample, at one position, and those that it could not
// settle at later ones.
func (s *step) compareTables(ctx context.Context, p *pair) error {
	ask := ChecksumTables{}
	if s.args.Verify == VerifySample {
		ask.SampleBytes, ask.SampleSeed = sampleBytes, seed(s.EffectKey)
	}
	var total comparison
	seen := map[string]history{}
	for round := 1; ; round++ {
		r, err := s.sumsAt(ctx, p, ask)
		if err != nil {
			return err
		}
		c := compare(r.primary, r.replica)
		total.equal, total.bytes = total.equal+c.equal, total.bytes+c.bytes
		total.different = append(total.different, c.different...)
		if len(c.unsettled) == 0 || len(total.different) > 0 || round == rounds {
			different, open := judge(c.unsettled, seen, r.primary, r.replica)
			return s.tellComparison(p, r.at, total, append(total.different, different...), open)
		}
		for _, name := range c.unsettled {
			seen[name] = history{primary: r.primary[name], replica: r.replica[name]}
		}
		ask = ChecksumTables{Tables: c.unsettled}
		s.Found("%d tables could not be compared at %s: tried again at another position",
			len(c.unsettled), r.at)
		if _, err := s.passFence(ctx, p); err != nil {
			return err
		}
	}
}

func (s *step) tellComparison(p *pair, at string, c comparison, different, open []string) error {
	if len(open) > 0 {
		s.Found("%d tables change all the time in an engine that cannot be read at one position, "+
			"and were not compared: %s", len(open), someOf(open, 5))
	}
	if len(different) > 0 {
		return refuse(errorsv1.Reason_REASON_DATA_MISMATCH, "do not use it: remove it "+
			"(`understudy job cleanup JOB`) and make the replica again from a new snapshot",
			"%s differs from %s in %d tables at %s: %s", p.srv.Name, p.primary.srv.Name,
			len(different), at, someOf(different, 10))
	}
	s.Found("compared %d tables, %s, at %s: 0 mismatches", c.equal, sizeOf(c.bytes), at)
	return nil
}

// reading is what both sides said of their tables at one position.
type reading struct {
	at               string
	primary, replica sums
}

// sumsAt reads both sides' checksums at one position: the replica is stopped before the primary's
// read view is taken, then applies exactly up to it. The primary is never held up.
func (s *step) sumsAt(ctx context.Context, p *pair, ask ChecksumTables) (reading, error) {
	if _, err := p.agent.StopReplication(ctx, true, threadsTimeout, s.fence()); err != nil {
		return reading{}, fmt.Errorf("cannot stop replication on %s: %w", p.srv.Name, err)
	}
	r := reading{primary: sums{}, replica: sums{}}
	meter := &meter{step: s}
	view, complete := make(chan string, 1), make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(complete)
		err := p.primary.agent.ChecksumTables(ctx, ask, func(b ChecksumBegin) {
			meter.begin(b)
			view <- b.GTID
		}, func(t TableChecksum) { r.primary[t.Table] = t; meter.add() })
		return wrap(err, "cannot read the checksums of %s", p.primary.srv.Name)
	})
	group.Go(func() error {
		r.at = viewOf(view, complete)
		return s.replicaSums(ctx, p, ask, &r, complete, meter)
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
func (s *step) replicaSums(ctx context.Context, p *pair, ask ChecksumTables, r *reading,
	complete <-chan struct{}, meter *meter) error {
	if r.at == "" {
		return errors.New("the primary gave no position for its checksums")
	}
	if _, _, err := p.agent.StartReplication(ctx, r.at, s.leftOf(ctx), s.fence()); err != nil {
		return fmt.Errorf("cannot bring %s to exactly %s: %w", p.srv.Name, r.at, err)
	}
	tables := ask.Tables
	if ask.SampleBytes > 0 {
		select {
		case <-complete:
		case <-ctx.Done():
			return ctx.Err()
		}
		if tables = slices.Sorted(maps.Keys(r.primary)); len(tables) == 0 {
			return nil
		}
	}
	err := p.agent.ChecksumTables(ctx, ChecksumTables{AtGTID: r.at, Tables: tables},
		func(ChecksumBegin) {},
		func(t TableChecksum) { r.replica[t.Table] = t; meter.add() })
	return wrap(err, "cannot read the checksums of %s", p.srv.Name)
}

// meter tells how many tables are done, of both sides.
type meter struct {
	step  *step
	mu    sync.Mutex
	done  int64
	total int64
	text  string
}

func (m *meter) begin(b ChecksumBegin) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total, m.text = 2*int64(b.Tables), fmt.Sprintf("comparing %d tables, %s, at %s", b.Tables,
		sizeOf(b.Bytes), b.GTID)
}

func (m *meter) add() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done++
	m.step.Progress(job.Progress{Done: m.done, Total: max(m.total, m.done), Unit: "tables",
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
	return fmt.Errorf(sprintf(format, args...)+": %w", err)
}
