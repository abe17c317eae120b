package quiesce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Services stops and starts units; *systemd.Manager is one. Only the mode offline needs it.
type Services interface {
	UnitReader
	Start(ctx context.Context, name string) (systemd.Unit, bool, error)
	Stop(ctx context.Context, name string) (systemd.Unit, bool, error)
}

// ProcessConfig has what the process needs.
type ProcessConfig struct {
	// Socket is the agent's; the spec comes from there. Required.
	Socket string
	// MariaDB is the server. Required.
	MariaDB *mariadb.Server
	// Services is needed for the mode offline alone.
	Services Services
	// Notify tells systemd the state of the process (sd_notify); may be nil.
	Notify func(state string)
	// Log must not be on the filesystem of the datadir; default slog.Default().
	Log *slog.Logger
}

const (
	// proofTime bounds the proof; a statement that hangs longer breaks the point.
	proofTime = 2 * time.Second
	// filesTime bounds it where all files of a datadir are part of it.
	filesTime = 30 * time.Second
)

// Run quiesces MariaDB once: it connects to the agent's socket, receives the spec, and returns when
// MariaDB has resumed. It resumes at once when ctx is done (SIGTERM), when the agent's side closes,
// unless the session outlives its agent, and at the limit. Without an error it has given back all
// that it held.
func Run(ctx context.Context, config ProcessConfig) error {
	return runWith(ctx, config, (*process).newStrategy)
}

func runWith(ctx context.Context, config ProcessConfig,
	choose func(*process, context.Context) (strategy, error)) error {
	if config.Log == nil {
		config.Log = slog.Default()
	}
	if config.Notify == nil {
		config.Notify = func(string) {}
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: config.Socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("cannot reach the agent: %w", err)
	}
	first := newConnection(conn)
	p := &process{config: config, first: first, agent: line{conn: first},
		choose: choose, released: make(chan struct{})}
	p.release = sync.OnceFunc(func() { close(p.released) })
	defer p.agent.close()
	if err := p.run(ctx); err != nil {
		// The agent may be gone, and no other peer would read it.
		_ = p.agent.send(message{Fault: toFault(err)})
		return err
	}
	return nil
}

type process struct {
	config   ProcessConfig
	choose   func(*process, context.Context) (strategy, error)
	first    *connection // to the agent that started it
	agent    line
	spec     Spec
	cancel   context.CancelCauseFunc // resumes, and says why
	released chan struct{}           // closed by release: the caller asked to resume
	release  func()
}

var (
	// errLimit is the cause of a context that ends at the limit.
	errLimit = errors.New("its limit was over")
	// errGone is the cause of a context that ends with the agent's side.
	errGone = errors.New("the agent closed the connection")
	// errTold is the cause of a context that ends with the unit.
	errTold = errors.New("systemd told the process to end")
)

func (p *process) run(told context.Context) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(told))
	defer cancel(nil)
	defer context.AfterFunc(told, func() { cancel(errTold) })()
	p.cancel = cancel
	if err := p.awaitStart(); err != nil {
		return err
	}
	go p.listen(p.first)
	chosen, err := p.choose(p, ctx)
	if err != nil {
		return err
	}
	p.say("locking")
	p.config.Notify(daemon.SdNotifyReady) // the time limit of systemd counts from here
	until := time.Now().Add(p.spec.Limit)
	ctx, stop := context.WithTimeoutCause(ctx, p.spec.Limit, errLimit)
	defer stop()
	// At the limit, also a strategy that hangs gives back what it took.
	resume := sync.OnceValue(chosen.resume)
	resumeOnly := func() { _ = resume() }
	defer resumeOnly()
	defer context.AfterFunc(ctx, resumeOnly)()
	point, err := chosen.reach(ctx)
	if err != nil {
		return p.notReached(ctx, err)
	}
	point.Nonce = p.spec.Nonce
	if err := p.report(point, until); err != nil {
		return err
	}
	p.config.Log.Info("MariaDB is quiesced", "mode", p.spec.Mode, "gtid", point.BinlogPos)
	result := p.awaitResume(ctx, chosen)
	failed := resume()
	chosen.finish(&result)
	p.config.Log.Info("MariaDB has resumed", "unbroken", result.Unbroken, "reason",
		result.BrokenReason, "blocked", result.Blocked, "frozen", result.Frozen)
	p.end(point, result)
	return failed
}

func (p *process) awaitStart() error {
	if err := p.first.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return fmt.Errorf("cannot wait for the agent: %w", err)
	}
	m, err := p.first.receive()
	if err != nil || m.Start == nil {
		return fmt.Errorf("cannot quiesce MariaDB: the agent sent no spec: %w", errors.Join(err))
	}
	p.spec = *m.Start
	return p.first.conn.SetReadDeadline(time.Time{})
}

// listen receives what an agent asks for, and the end of its connection.
func (p *process) listen(c *connection) {
	for {
		m, err := c.receive()
		if err != nil {
			if !p.agent.lost(c) {
				p.cancel(errGone)
			}
			return
		}
		if !p.agent.heed(c, func() { p.do(m) }) || m.End != "" {
			return // its half of the connection ends with End, and it waits for the result
		}
	}
}

func (p *process) do(asked message) {
	switch {
	case asked.End != "":
		p.cancel(errors.New(asked.End))
	case asked.Resume:
		p.release()
	}
}

func (p *process) awaitResume(ctx context.Context, chosen strategy) Result {
	select {
	case <-ctx.Done():
		return Result{BrokenReason: "MariaDB was resumed before the caller asked for it: " +
			context.Cause(ctx).Error()}
	case <-p.released:
	}
	bound := proofTime
	if p.spec.Mode == Offline && !p.spec.Freeze {
		bound = filesTime
	}
	proof, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	after, err := proveWithin(proof, chosen)
	if err == nil {
		err = context.Cause(ctx) // the limit may have passed during the proof
	}
	if err != nil {
		return Result{BrokenReason: err.Error()}
	}
	return Result{Unbroken: true, After: after}
}

// proveWithin does not wait longer than ctx for a proof: what proves may hang in the kernel, and
// MariaDB is held meanwhile. A proof that comes late is no proof.
func proveWithin(ctx context.Context, chosen strategy) (mariadb.Positions, error) {
	var after mariadb.Positions
	proved := make(chan error, 1)
	go func() {
		var err error
		after, err = chosen.prove(ctx)
		proved <- err
	}()
	select {
	case err := <-proved:
		return after, err
	case <-ctx.Done():
		return mariadb.Positions{},
			fmt.Errorf("cannot prove in time that the point is unbroken: %w", context.Cause(ctx))
	}
}

func (p *process) notReached(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED,
		"cannot reach a consistent point: "+context.Cause(ctx).Error(), errs.Wrap(err),
		errs.WithHint("find the session that keeps the locks (SHOW PROCESSLIST), or allow a "+
			"longer limit"))
}

func (p *process) say(progress string) {
	// listen notices an agent that is gone.
	_ = p.agent.send(message{Progress: progress})
}
