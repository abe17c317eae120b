package hold

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Services stops and starts units; *systemd.Manager is one. Only offline holds need it.
type Services interface {
	Looker
	Start(ctx context.Context, name string) (systemd.Unit, bool, error)
	Stop(ctx context.Context, name string) (systemd.Unit, bool, error)
}

// ProcessConfig has what the process that holds needs.
type ProcessConfig struct {
	// Socket is the agent's; whoever listens there says what to hold. Required.
	Socket string
	// MariaDB is the server. Required.
	MariaDB *mariadb.Server
	// Services is needed for offline holds alone.
	Services Services
	// Armed is called once, just before the first lock: the time limit of systemd is to count from
	// here (READY=1). May be nil.
	Armed func()
	// Log must not lie on the filesystem of the datadir; default slog.Default().
	Log *slog.Logger
}

// proofTime bounds the proof at the release; a statement that hangs then is a broken hold.
const proofTime = 2 * time.Second

// Run holds one point: it connects to the agent's socket, is told what to hold, and returns when
// everything is given back. It ends the hold at once when ctx is done (SIGTERM), when the agent's
// side closes, and when the limit is over.
func Run(ctx context.Context, config ProcessConfig) error {
	if config.Log == nil {
		config.Log = slog.Default()
	}
	if config.Armed == nil {
		config.Armed = func() {}
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: config.Socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("cannot reach the agent: %w", err)
	}
	defer conn.Close()
	p := &process{config: config, wire: newWire(conn), release: make(chan struct{})}
	if err := p.hold(ctx); err != nil {
		// The agent may be gone; there is nobody else to tell.
		_ = p.wire.send(message{Fault: toFault(err)})
		return err
	}
	return nil
}

type process struct {
	config  ProcessConfig
	wire    *wire
	spec    Spec
	release chan struct{}
}

// errLimit is why a hold's context ends at its limit.
var errLimit = errors.New("its limit was over")

// errGone is why it ends when the agent's side closes.
var errGone = errors.New("the agent closed the connection")

func (p *process) hold(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := p.awaitOpen(); err != nil {
		return err
	}
	go p.listen(cancel)
	way, err := p.newWay(ctx)
	if err != nil {
		return err
	}
	p.say("locking")
	p.config.Armed()
	ctx, stop := context.WithTimeoutCause(ctx, p.spec.Limit, errLimit)
	defer stop()
	// Even a way that hangs gives back what it took when the limit is over.
	letGo := sync.OnceFunc(way.letGo)
	defer letGo()
	defer context.AfterFunc(ctx, letGo)()
	testimony, err := way.reach(ctx)
	if err != nil {
		return p.notReached(ctx, err)
	}
	testimony.Nonce = p.spec.Nonce
	if err := p.wire.send(message{Testimony: &testimony}); err != nil {
		return err
	}
	p.config.Log.Info("holding a consistent point", "mode", p.spec.Mode, "gtid",
		testimony.Gtid.Binlog)
	result := p.awaitRelease(ctx, way)
	letGo()
	way.finish(&result)
	p.config.Log.Info("the hold is over", "unbroken", result.Unbroken, "reason",
		result.BrokenReason, "blocked", result.Blocked, "frozen", result.Frozen)
	// The connection is half closed by an agent that gave up, and gone when it died.
	_ = p.wire.send(message{Result: &result})
	return nil
}

func (p *process) awaitOpen() error {
	if err := p.wire.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return fmt.Errorf("cannot wait for the agent: %w", err)
	}
	m, err := p.wire.receive()
	if err != nil || m.Open == nil {
		return fmt.Errorf("cannot hold: the agent did not say what: %w", errors.Join(err))
	}
	p.spec = *m.Open
	return p.wire.conn.SetReadDeadline(time.Time{})
}

// listen hears the release, and the end of the connection.
func (p *process) listen(cancel context.CancelCauseFunc) {
	released := false
	for {
		m, err := p.wire.receive()
		if err != nil {
			cancel(errGone)
			return
		}
		if m.Release && !released {
			released = true
			close(p.release)
		}
	}
}

func (p *process) awaitRelease(ctx context.Context, way way) Result {
	select {
	case <-ctx.Done():
		return Result{BrokenReason: "the hold ended before it was released: " +
			context.Cause(ctx).Error()}
	case <-p.release:
	}
	proof, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	after, err := way.prove(proof)
	if err == nil {
		err = context.Cause(ctx) // the limit may have fallen into the proof
	}
	if err != nil {
		return Result{BrokenReason: err.Error()}
	}
	return Result{Unbroken: true, After: after}
}

func (p *process) notReached(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_HOLD_NOT_ACQUIRED,
		"cannot reach a consistent point: "+context.Cause(ctx).Error(), errs.Wrap(err),
		errs.WithHint("look for what keeps the locks (SHOW PROCESSLIST), or allow a longer limit"))
}

func (p *process) say(progress string) {
	// An agent that is gone is noticed by listen.
	_ = p.wire.send(message{Progress: progress})
}

// way is how a point is made and held.
type way interface {
	// reach makes the point; what it took is given back by letGo, also when it fails.
	reach(ctx context.Context) (mariadb.Testimony, error)
	// prove proves that the point was held without a break until now, and answers the positions of
	// now.
	prove(ctx context.Context) (mariadb.Positions, error)
	// letGo gives everything back. It must not hang on what reach hangs on.
	letGo()
	// finish adds how long things took.
	finish(result *Result)
}

// newWay does all that can be done before the first lock: connect, write the nonce, bring the
// filesystem to the disk.
func (p *process) newWay(ctx context.Context) (way, error) {
	p.say("writing the nonce and syncing the filesystem")
	point, err := p.config.MariaDB.OpenPoint(ctx, p.spec.LockWait)
	if err != nil {
		return nil, err
	}
	b := base{process: p, point: point, volume: point.Volume}
	if p.spec.Freeze {
		if b.ice, err = openIce(point.Volume.Mount); err != nil {
			point.Close()
			return nil, err
		}
	}
	if err := b.volume.WriteNonce(p.spec.Nonce); err != nil {
		b.close()
		return nil, err
	}
	switch p.spec.Mode {
	case Online:
		return &online{base: b}, nil
	case Crash:
		return &crash{base: b}, nil
	case Offline:
		return &offline{base: b}, nil
	}
	b.close()
	return nil, fmt.Errorf("cannot hold: no mode %q", p.spec.Mode)
}

// base is what all ways have.
type base struct {
	*process
	point     *mariadb.Point
	volume    mariadb.Volume
	ice       *ice
	testimony mariadb.Testimony
}

func (b *base) freeze(ctx context.Context) error {
	if b.ice == nil {
		return nil
	}
	b.say("freezing the filesystem")
	return b.ice.freeze(ctx)
}

func (b *base) stillFrozen() error {
	if b.ice == nil {
		return nil
	}
	return b.ice.stillFrozen()
}

func (b *base) thaw() {
	if b.ice != nil {
		b.ice.thaw()
	}
}

func (b *base) close() {
	if b.ice != nil {
		b.ice.close()
	}
	if b.point != nil {
		b.point.Close()
	}
}

func (b *base) finish(result *Result) {
	if b.ice != nil {
		result.Frozen = b.ice.took()
	}
}
