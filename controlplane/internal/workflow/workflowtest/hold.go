package workflowtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// simHold is a hold as its host sees it.
type simHold struct {
	host   *Host
	req    kit.Quiesce
	point  consistentpoint.Point
	opened time.Time

	mu      sync.Mutex
	ended   bool
	result  kit.QuiesceResult
	streams []*simStream
	wait    *time.Timer // for somebody to adopt it
}

// Open says whether the host holds MariaDB.
func (h *simHold) Open() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.ended
}

// End ends the hold, whoever does it.
func (h *simHold) End(why string) { h.end(kit.QuiesceResult{BrokenReason: why}) }

func (h *simHold) end(result kit.QuiesceResult) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	result.Blocked, result.Frozen = time.Since(h.opened), time.Since(h.opened)
	h.ended, h.result = true, result
	for _, s := range h.streams {
		s.over()
	}
}

// Cut is what the death of the agent does: the streams break, and the hold ends unless somebody may
// adopt it.
func (h *simHold) Cut() {
	h.mu.Lock()
	streams := slices.Clone(h.streams)
	h.mu.Unlock()
	for _, s := range streams {
		s.cut("the stream broke")
	}
}

// offline says that MariaDB is stopped for it.
func (h *simHold) offline() bool {
	return h != nil && h.req.Mode == inventory.ModeOffline && h.Open()
}

func (h *simHold) attach(ctx context.Context) *simStream {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &simStream{hold: h, done: make(chan struct{})}
	for _, former := range h.streams {
		former.lost = "another stream has adopted it"
		former.over()
	}
	h.streams = []*simStream{s}
	if h.wait != nil {
		h.wait.Stop()
	}
	if h.ended {
		s.over()
	}
	context.AfterFunc(ctx, func() { s.cut("the caller went away") })
	return s
}

// simStream is a control plane's connection to a hold.
type simStream struct {
	hold *simHold
	lost string // why it broke, before the host said how the hold ended
	once sync.Once
	done chan struct{}
}

func (s *simStream) over() { s.once.Do(func() { close(s.done) }) }

func (s *simStream) cut(why string) {
	h := s.hold
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || !slices.Contains(h.streams, s) {
		return
	}
	h.streams, s.lost = nil, why
	s.over()
	if h.req.AdoptWithin == 0 {
		go h.End(why)
		return
	}
	h.wait = time.AfterFunc(h.req.AdoptWithin, func() { h.End("nobody adopted it") })
}

func (s *simStream) Point() consistentpoint.Point { return s.hold.point }
func (s *simStream) Left() time.Duration {
	return time.Until(s.hold.opened.Add(s.hold.req.Limit))
}
func (s *simStream) Done() <-chan struct{} { return s.done }
func (s *simStream) Close() error          { s.cut("it was closed"); return nil }

func (s *simStream) Ended() (kit.QuiesceResult, error) {
	s.hold.mu.Lock()
	defer s.hold.mu.Unlock()
	if s.lost != "" {
		return kit.QuiesceResult{}, errs.New(errs.Unavailable,
			errorsv1.Reason_REASON_AGENT_UNREACHABLE, s.lost)
	}
	return s.hold.result, nil
}

func (s *simStream) Resume(context.Context) (kit.QuiesceResult, error) {
	time.Sleep(3 * time.Millisecond) // a thaw takes its time
	s.hold.host.resuming()
	s.hold.mu.Lock()
	lost := s.lost != ""
	s.hold.mu.Unlock()
	if !lost {
		s.hold.end(kit.QuiesceResult{Unbroken: true})
	}
	return s.Ended()
}

// resuming is called before a hold is resumed.
func (h *Host) resuming() {
	h.w.Mu.Lock()
	fn := h.Resuming
	h.Resuming = nil
	h.w.Mu.Unlock()
	if fn != nil {
		fn()
	}
}

func (a *agent) Quiesce(ctx context.Context, req kit.Quiesce,
	_ kit.Progress) (kit.Quiesced, error) {
	var made *simStream
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
		h := &simHold{host: a.h, req: req, opened: time.Now(), point: consistentpoint.Point{
			Replica: d.Data.Conn != nil, ServerID: s.Conf.ServerID, ServerVersion: a.h.Binary,
			BinlogPos: d.Data.Pos(), SlavePos: d.Data.slavePos,
			CurrentPos: d.Data.Pos(), BinlogFile: "mariadb-bin.000001", FilesystemUUID: d.UUID,
			Filesystem: d.fs, Datadir: kit.DatadirPath,
			Nonce: req.Nonce, At: time.Now(), Contract: &a.h.Contract,
		}}
		a.h.Hold = h
		made = h.attach(ctx)
		a.p.streams = append(a.p.streams, made)
		time.AfterFunc(req.Limit, func() { h.End("the limit was reached") })
		return true, nil
	})
	if err != nil && made != nil {
		made.cut("the stream broke")
	}
	if err != nil {
		return nil, err
	}
	return made, nil
}

func (a *agent) Adopt(ctx context.Context, req kit.Adopt) (kit.Quiesced, error) {
	var made *simStream
	err := a.change(ctx, "Adopt", req.Token, func() (bool, error) {
		h := a.h.Hold
		switch {
		case a.h.NoTrace || h == nil || h.req.Nonce != req.Nonce && !h.Open():
			return false, errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BROKEN,
				"the host has no trace of it")
		case h.req.Nonce != req.Nonce || h.req.Token.Job != req.Token.Job:
			return false, errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
				"another hold is open")
		}
		made = h.attach(ctx)
		a.p.streams = append(a.p.streams, made)
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

func (a *agent) EndQuiesce(ctx context.Context,
	token kit.FencingToken) (result *kit.QuiesceResult, err error) {
	err = a.change(ctx, "EndQuiesce", token, func() (bool, error) {
		h := a.h.Hold
		if h == nil || !h.Open() || h.req.Token.Job != token.Job {
			return false, nil
		}
		h.End("its job ended it")
		result = &h.result
		return true, nil
	})
	return result, err
}

var _ kit.Quiesced = (*simStream)(nil)
