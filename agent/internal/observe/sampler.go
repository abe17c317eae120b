package observe

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/marks"
	"github.com/understudy-db/understudy/agent/internal/systemd"
)

const (
	// SampleInterval is how often the host is observed.
	SampleInterval = time.Second
	// FullInterval is how old the facts get that cost more than a sample may. A control plane that
	// asks for the status spares the agent that.
	FullInterval = 10 * time.Second
	// probeLimit is how long a sample waits for each of its parts.
	probeLimit = 2 * time.Second
)

// Config is what a Sampler needs; all of it is required.
type Config struct {
	// Status reads all of MariaDB and calls Watch.Observed; Sample reads again what changes fast.
	// None of these is called while MariaDB does not run.
	Status func(ctx context.Context) (mariadb.Status, error)
	Sample func(ctx context.Context, last mariadb.Status) mariadb.Status
	// Connections are the replication connections.
	Connections func(ctx context.Context) ([]mariadb.Replication, error)
	// Unit reads the state of MariaDB's unit.
	Unit func(ctx context.Context) (systemd.Unit, error)
	// Starting is true while systemd starts the host.
	Starting func(ctx context.Context) bool
	// Errors are what MariaDB logged as errors in that run of its unit.
	Errors func(ctx context.Context, unit systemd.Unit) []string
	// Quiesced is true while MariaDB is quiesced, PausedBy the job that stopped replication.
	Quiesced func() bool
	PausedBy func() string
	// Unresumed is why MariaDB has not resumed although nobody quiesces it any more; nil if it has.
	Unresumed func() (since time.Time, why error)
	// Unrenewed is why the agent's certificate, which ends soon, was not renewed; nil if it was.
	Unrenewed func() (since time.Time, why error)
	// Marks takes what the sample has of replication; it answers with what was noted so far.
	Marks func(marks.Sample) marks.Record
	// Hanging is a call of the agent that goes on although it is over.
	Hanging func() (method string, since time.Time)
	// Datadir is where the datadir is until MariaDB's options were read.
	Datadir string
}

// Observation is one sample.
type Observation struct {
	// At is when it began.
	At time.Time
	// Status is MariaDB's, Unit its unit's: Name is empty when systemd does not answer.
	Status mariadb.Status
	Unit   systemd.Unit
	Volume Volume
	// Errors are what MariaDB logged as errors in this run, while it does not answer.
	Errors []string
	// Hung are the parts that do not return, or fail for long.
	Hung map[string]Hang
	// PausedBy is the job that stopped replication on purpose.
	PausedBy string
	// Starting is true while systemd starts the host, and MariaDB waits.
	Starting bool
	// Marks are what may have left changes out since this host's data was copied.
	Marks marks.Record
}

// Sampler observes the host once a second.
type Sampler struct {
	cfg   Config
	watch *Watch

	unit    probe[unitLook]
	server  probe[mariadb.Status]
	volume  probe[Volume]
	threads probe[threads]
	full    probe[fullLook]
	marks   probe[marks.Record]
	words   words
	run     string // of the unit, that was observed in full
	unitAt  stale
	fullAt  stale

	mu     sync.Mutex
	latest Observation
	next   chan struct{} // closed by the next observation
}

// NewSampler makes a sampler that keeps what it finds in watch, for its metrics.
func NewSampler(cfg Config, watch *Watch) *Sampler {
	begin := stale{time.Now()}
	return &Sampler{cfg: cfg, watch: watch, next: make(chan struct{}),
		words: words{read: cfg.Errors}, unitAt: begin, fullAt: begin}
}

// Latest is the latest observation, with At zero before the first, and a channel that is closed by
// the next one.
func (s *Sampler) Latest() (Observation, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest, s.next
}

// Run observes until ctx ends.
func (s *Sampler) Run(ctx context.Context) {
	ticker := time.NewTicker(SampleInterval)
	defer ticker.Stop()
	for {
		found := s.sample(ctx)
		if ctx.Err() != nil {
			return
		}
		if !found.untold {
			s.publish(found.Observation)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// part is the state of a sample that is being taken.
type part struct {
	Observation
	// untold: settings that were not read yet would be told as right.
	untold bool
	mu     sync.Mutex
}

func (p *part) hangs(name string, since time.Time, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since.IsZero() {
		return
	}
	hang := Hang{Since: since}
	if why != nil {
		hang.Reason = why.Error()
	}
	p.Hung[name] = hang
}

// sample runs the probes beside each other: none waits for another one that hangs.
func (s *Sampler) sample(ctx context.Context) *part {
	p := &part{Observation: Observation{At: time.Now(), Hung: map[string]Hang{},
		PausedBy: s.cfg.PausedBy()}}
	if method, since := s.cfg.Hanging(); method != "" {
		p.hangs("call", since, errors.New(method))
	}
	if since, why := s.cfg.Unresumed(); why != nil {
		p.hangs("resume", since, why)
	}
	if since, why := s.cfg.Unrenewed(); why != nil {
		p.hangs("certificate", since, why)
	}
	s.observeUnit(ctx, p)
	run := p.Unit.InvocationID
	if p.Unit.Name == "" {
		run = s.run // systemd does not tell
	}
	status, _ := s.watch.Latest()
	runs := p.Unit.Running() || p.Unit.Name == "" && status.Answers
	if runs {
		s.observeInFull(ctx, run)
		status, _ = s.watch.Latest()
	}
	var both sync.WaitGroup
	both.Go(func() { s.askServer(ctx, p, status, runs) })
	both.Go(func() {
		datadir, quiesced := cmp.Or(status.Datadir, s.cfg.Datadir), s.cfg.Quiesced()
		found, since := s.volume.run(ctx, probeLimit, func(context.Context) Volume {
			return lookAtVolume(datadir, quiesced)
		})
		p.Volume = found
		p.hangs("volume", since, nil)
	})
	both.Wait()
	s.tellStale(p, run)
	p.Errors = s.words.of(ctx, p.Observation)
	s.noteMarks(ctx, p)
	return p
}

// noteMarks has the sample noted. That nothing can be noted of a replica is a fact.
func (s *Sampler) noteMarks(ctx context.Context, p *part) {
	var now marks.Sample
	if p.Status.Answers && !p.untold {
		now.Losses, now.Run = p.Status.Live.Losses(), p.Unit.InvocationID
		for _, r := range p.Status.Live.Replication {
			now.Thread = r.SQLThread
			if r.Connection == "" {
				now.Follows, now.Errno = true, r.SQLErrno
			}
		}
	}
	var since time.Time
	p.Marks, since = s.marks.run(ctx, probeLimit, func(context.Context) marks.Record {
		return s.cfg.Marks(now)
	})
	switch {
	case !now.Follows:
	case !since.IsZero():
		p.hangs("marks", since, nil)
	case p.Marks.Unread != "":
		p.hangs("marks", p.Marks.UnreadSince, errors.New(p.Marks.Unread))
	}
}

// heldThen is true for a full look at a MariaDB that was held then and is not any more: half of it
// could not be asked.
func (s *Sampler) heldThen(full mariadb.Status) bool {
	return full.Quiesced && !s.cfg.Quiesced()
}

// askServer asks MariaDB itself, if it runs.
func (s *Sampler) askServer(ctx context.Context, p *part, last mariadb.Status, runs bool) {
	if !runs {
		p.Status = s.down(last, mariadb.Unit+" does not run")
		return
	}
	var since time.Time
	p.Status, since = s.server.run(ctx, probeLimit, func(ctx context.Context) mariadb.Status {
		return s.cfg.Sample(ctx, last)
	})
	p.hangs("mariadb", since, nil)
	if !p.Status.Answers || !since.IsZero() {
		return
	}
	threads, since := s.threads.run(ctx, probeLimit, func(ctx context.Context) threads {
		all, err := s.cfg.Connections(ctx)
		return threads{all, err}
	})
	p.hangs("replication", since, nil)
	p.Status.Live.Replication = threads.all
	if threads.err != nil {
		p.Status.Answers, p.Status.DownReason = false, threads.err.Error()
	}
}

// down is what is known of a MariaDB that nothing can be said of.
func (s *Sampler) down(last mariadb.Status, why string) mariadb.Status {
	last.Answers, last.Quiesced, last.Live = false, s.cfg.Quiesced(), mariadb.Live{}
	last.DownReason = why
	return last
}

// threads are the replication connections, or why they are not known.
type threads struct {
	all []mariadb.Replication
	err error
}

func (s *Sampler) publish(found Observation) {
	s.watch.sampled(found)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = found
	close(s.next)
	s.next = make(chan struct{})
}
