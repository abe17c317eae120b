// Package faults makes a provider fail as clouds do. It is imported from tests alone.
package faults

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// ErrAnswerLost is what a caller gets whose request had its effect.
var ErrAnswerLost = errors.New("connection reset before the answer")

// Config says what goes wrong. The zero value: nothing.
type Config struct {
	// DeviceDelay is how long after an attach the device appears on the machine. Until
	// then the volume is attaching.
	DeviceDelay time.Duration
	// LoseAnswers is how many answers of each creating or changing call are lost after
	// the effect, by name of the method.
	LoseAnswers map[string]int
	// ThrottleEvery makes every n-th call fail with ErrThrottled before its effect; 0
	// none.
	ThrottleEvery int
	// RetryAfter is what throttled callers are told.
	RetryAfter time.Duration
	// FailSnapshots is how many snapshots end in the state error.
	FailSnapshots int
	// StickVolumes is how many volumes stay in the state creating until Unstick.
	StickVolumes int
}

// Provider passes everything on to another one, save for what goes wrong.
type Provider struct {
	provider.Provider

	calls atomic.Int64

	mu       sync.Mutex
	cfg      Config
	failed   map[string]bool
	stuck    map[string]bool
	plugging map[string]*plug
	pending  sync.WaitGroup
}

// plug is an attach that the wrapped provider has not been told of yet.
type plug struct {
	machine string
	timer   *time.Timer
	err     error
}

// New wraps a provider. The configuration is copied.
func New(inner provider.Provider, cfg Config) *Provider {
	lose := map[string]int{}
	for method, count := range cfg.LoseAnswers {
		lose[method] = count
	}
	cfg.LoseAnswers = lose
	return &Provider{Provider: inner, cfg: cfg, failed: map[string]bool{}, stuck: map[string]bool{},
		plugging: map[string]*plug{}}
}

// Unstick lets all stuck volumes go on.
func (p *Provider) Unstick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stuck = map[string]bool{}
}

// Close waits for attaches that are under way.
func (p *Provider) Close() { p.pending.Wait() }

func (p *Provider) throttle() error {
	n := p.calls.Add(1)
	if p.cfg.ThrottleEvery == 0 || n%int64(p.cfg.ThrottleEvery) != 0 {
		return nil
	}
	return provider.Throttled(nil, p.cfg.RetryAfter, "request limit exceeded: retry after %s",
		p.cfg.RetryAfter)
}

// lose says whether this answer of the method is lost.
func (p *Provider) lose(method string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cfg.LoseAnswers[method] == 0 {
		return nil
	}
	p.cfg.LoseAnswers[method]--
	return ErrAnswerLost
}

// take says whether one of a number of faults is left, and uses it up.
func (p *Provider) take(count *int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *count == 0 {
		return false
	}
	*count--
	return true
}

// call makes one call with what may go wrong before and after it.
func call[T any](p *Provider, method string, do func() (T, error)) (T, error) {
	var none T
	if err := p.throttle(); err != nil {
		return none, err
	}
	value, err := do()
	if err != nil {
		return value, err
	}
	if err := p.lose(method); err != nil {
		return none, err
	}
	return value, nil
}

func callOnly(p *Provider, method string, do func() error) error {
	_, err := call(p, method, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// CreateMachine may be throttled or lose its answer.
func (p *Provider) CreateMachine(ctx context.Context,
	req provider.CreateMachineRequest) (provider.Machine, error) {
	return call(p, "CreateMachine",
		func() (provider.Machine, error) { return p.Provider.CreateMachine(ctx, req) })
}

// GetMachine may be throttled or lose its answer.
func (p *Provider) GetMachine(ctx context.Context, id string) (provider.Machine, error) {
	return call(p, "GetMachine",
		func() (provider.Machine, error) { return p.Provider.GetMachine(ctx, id) })
}

// ListMachines may be throttled or lose its answer.
func (p *Provider) ListMachines(ctx context.Context,
	filter provider.Filter) ([]provider.Machine, error) {
	return call(p, "ListMachines",
		func() ([]provider.Machine, error) { return p.Provider.ListMachines(ctx, filter) })
}

// TerminateMachine may be throttled or lose its answer.
func (p *Provider) TerminateMachine(ctx context.Context, id string) error {
	return callOnly(p, "TerminateMachine",
		func() error { return p.Provider.TerminateMachine(ctx, id) })
}
