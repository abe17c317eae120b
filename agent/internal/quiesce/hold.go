package quiesce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// hold is the agent's side of a process, whoever its caller is.
type hold struct {
	manager *Manager
	spec    Spec
	point   consistentpoint.Point
	since   time.Time // when the point was reached, or taken over
	until   time.Time // when its limit is over
	conn    *connection

	ended  chan struct{} // closed when the process has ended the session; what is below is settled
	result *Result
	err    error
}

func (m *Manager) newHold(spec Spec, conn *connection) *hold {
	return &hold{manager: m, spec: spec, conn: conn, ended: make(chan struct{})}
}

func (h *hold) awaitPoint(ctx context.Context, progress func(string)) error {
	for {
		m, err := h.conn.receive()
		switch {
		case err != nil:
			why := h.manager.exit(ctx, h.spec.Nonce)
			return errs.New(errs.Internal, errorsv1.Reason_REASON_QUIESCE_BROKEN,
				"cannot quiesce MariaDB: the process ended before the point was reached: "+why,
				errs.WithHint("read its journal (journalctl -u "+UnitName+
					"), then call again"))
		case m.Fault != nil:
			return m.Fault.err()
		case m.Point != nil:
			h.reached(*m.Point, m.Left)
			return nil
		case m.Progress != "" && progress != nil:
			progress(m.Progress)
		}
	}
}

func (h *hold) reached(point consistentpoint.Point, left time.Duration) {
	now := time.Now()
	h.point, h.since, h.until = point, now, now.Add(left)
}

// listen waits for the end of the session, whatever ends it.
func (h *hold) listen(ctx context.Context) {
	defer h.manager.over()
	defer close(h.ended)
	defer h.manager.forget(h)
	defer h.conn.conn.Close()
	for {
		m, err := h.conn.receive()
		switch {
		case err != nil:
			h.err = errors.New("the process that held it is gone: " +
				h.manager.exit(ctx, h.spec.Nonce))
			return
		case m.Fault != nil:
			h.err = m.Fault.err()
			return
		case m.Result != nil:
			h.result = m.Result
			h.manager.config.Ended(*m.Result, time.Since(h.since))
			return
		}
	}
}

func (h *hold) over() bool {
	select {
	case <-h.ended:
		return true
	default:
		return false
	}
}

// request sends what a caller asks for. An error means that the process is gone, which listen
// notices as well.
func (h *hold) request(m message) {
	if !h.over() {
		_ = h.conn.send(m)
		h.expect(h.spec.answerTime())
	}
}

// expect ends a process that was asked to resume and has not answered by then: one that hangs would
// hold MariaDB until its limit. What it held is given back by what systemd runs after it.
func (h *hold) expect(within time.Duration) {
	time.AfterFunc(within, func() {
		if h.over() {
			return
		}
		log := h.manager.config.Log
		log.Warn("the process does not resume MariaDB; its unit is stopped", "unit", UnitName)
		ctx, cancel := context.WithTimeout(context.Background(), undoTime)
		defer cancel()
		if err := h.manager.config.Launcher.Stop(ctx); err != nil {
			log.Warn("cannot stop it yet; the agent tries again", "unit", UnitName, "error", err)
			h.expect(mostUndoWait)
		}
	})
}

// giveUp ends the session without a proof, and says why. A process of another version only
// understands the end of the connection, of which half stays open for the result.
func (h *hold) giveUp(why string) {
	if h.over() {
		return
	}
	_ = h.conn.send(message{End: why})
	h.expect(h.spec.answerTime())
	_ = h.conn.conn.CloseWrite()
}

func (h *hold) await(ctx context.Context) (Result, error) {
	select {
	case <-h.ended:
	case <-ctx.Done():
		return Result{}, fmt.Errorf("cannot wait until MariaDB has resumed: %w", ctx.Err())
	}
	if h.result != nil {
		return *h.result, nil
	}
	return Result{BrokenReason: h.err.Error()}, nil
}
