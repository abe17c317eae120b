package quiesce

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// strategy is how a mode reaches and keeps a point.
type strategy interface {
	// reach makes the point; resume gives back what it took, also when it fails.
	reach(ctx context.Context) (consistentpoint.Point, error)
	// prove proves that the point is unbroken until now, and answers the current positions. It may
	// hang beyond ctx, while resume runs: nobody waits for it then.
	prove(ctx context.Context) (mariadb.Positions, error)
	// resume gives everything back, and says what it cannot. It must not hang on what reach hangs
	// on.
	resume() error
	// finish adds the durations.
	finish(result *Result)
}

// newStrategy does all that can be done before the first lock: connect, write the nonce, sync the
// filesystem.
func (p *process) newStrategy(ctx context.Context) (strategy, error) {
	p.say("writing the nonce and syncing the filesystem")
	session, err := p.config.MariaDB.OpenPointSession(ctx, p.spec.LockWait)
	if err != nil {
		return nil, err
	}
	b := base{process: p, session: session, volume: session.Volume}
	if p.spec.Freeze {
		if b.filesystem, err = openFilesystem(session.Volume.Mount,
			frozenFile(filepath.Dir(p.config.Socket))); err != nil {
			session.Close()
			return nil, err
		}
	}
	if err := takesWrite(func() error { return b.volume.WriteNonce(p.spec.Nonce) }); err != nil {
		b.close()
		return nil, err
	}
	if err := b.volume.Sync(); err != nil {
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
	return nil, fmt.Errorf("cannot quiesce MariaDB: unknown mode %q", p.spec.Mode)
}

// writeTime bounds a small write; one on a frozen filesystem ends when that is thawed.
const writeTime = 20 * time.Second

// takesWrite waits for a write of which the kernel lets nobody off. What freezes the filesystem is
// another program then, whose freeze is left alone.
func takesWrite(write func() error) error {
	wrote := make(chan error, 1)
	go func() { wrote <- write() }()
	select {
	case err := <-wrote:
		return err
	case <-time.After(writeTime):
		return errs.New(errs.Aborted, errorsv1.Reason_REASON_FILESYSTEM_FROZEN,
			"cannot write the nonce: the filesystem of the datadir took no write within "+
				writeTime.String()+"; another program has it frozen, or its disk hangs",
			errs.WithHint("wait for the end of the other freeze, or thaw it (fsfreeze -u); see "+
				"to the disk (dmesg) when it is not frozen"),
			errs.Retry(time.Second))
	}
}

// base is common to all strategies.
type base struct {
	*process
	session    *mariadb.PointSession
	volume     mariadb.Volume
	filesystem *frozenFilesystem
	point      consistentpoint.Point
}

func (b *base) freeze(ctx context.Context) error {
	if b.filesystem == nil {
		return nil
	}
	b.say("freezing the filesystem")
	return b.filesystem.freeze(ctx)
}

func (b *base) stillFrozen(ctx context.Context) error {
	if b.filesystem == nil {
		return nil
	}
	return b.filesystem.stillFrozen(ctx)
}

func (b *base) thaw() {
	if b.filesystem != nil {
		b.filesystem.thaw()
	}
}

func (b *base) close() {
	if b.filesystem != nil {
		b.filesystem.close()
	}
	b.session.Close()
}

func (b *base) finish(result *Result) {
	if b.filesystem != nil {
		result.Frozen = b.filesystem.took()
	}
}
