package workflowtest

import (
	"context"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// simHold is a hold as its host sees it.
type simHold struct {
	point  consistentpoint.Point
	opened time.Time
	once   sync.Once
	done   chan struct{}
	why    string
}

func (h *simHold) Open() bool {
	select {
	case <-h.done:
		return false
	default:
		return true
	}
}

// End ends the hold, whoever does it.
func (h *simHold) End(why string) { h.once.Do(func() { h.why = why; close(h.done) }) }

func (h *simHold) Point() consistentpoint.Point { return h.point }
func (h *simHold) Done() <-chan struct{}        { return h.done }
func (h *simHold) Close() error                 { h.End("it was closed"); return nil }

func (h *simHold) Resume(context.Context) (kit.QuiesceResult, error) {
	time.Sleep(3 * time.Millisecond) // a thaw takes its time
	unbroken := h.Open()
	h.End("released")
	return kit.QuiesceResult{Unbroken: unbroken, BrokenReason: h.why,
		Blocked: time.Since(h.opened), Frozen: time.Since(h.opened)}, nil
}

func (a *agent) Quiesce(ctx context.Context, req kit.Quiesce,
	_ kit.Progress) (kit.Quiesced, error) {
	var made *simHold
	err := a.change(ctx, "OpenHold", req.Token, func() (bool, error) {
		s, err := a.up()
		if err != nil {
			return false, err
		}
		if a.h.Hold != nil && a.h.Hold.Open() {
			return false, errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
				"another hold is open")
		}
		d := s.Disk
		d.Nonce = req.Nonce
		made = &simHold{done: make(chan struct{}), opened: time.Now(),
			point: consistentpoint.Point{
				Replica: d.Data.Conn != nil, ServerID: s.Conf.ServerID, ServerVersion: a.h.Binary,
				BinlogPos: d.Data.Pos(), SlavePos: d.Data.slavePos,
				CurrentPos: d.Data.Pos(), BinlogFile: "mariadb-bin.000001", FilesystemUUID: d.UUID,
				Filesystem: d.fs, Datadir: kit.DatadirPath,
				Nonce: req.Nonce, At: time.Now(), Contract: &a.h.Contract,
			}}
		a.h.Hold = made
		a.p.holds = append(a.p.holds, made)
		context.AfterFunc(ctx, func() { made.End("the caller went away") })
		time.AfterFunc(req.Limit, func() { made.End("the limit was reached") })
		return true, nil
	})
	if err != nil && made != nil {
		made.End("the stream broke")
	}
	if err != nil {
		return nil, err
	}
	return made, nil
}

var _ kit.Quiesced = (*simHold)(nil)
