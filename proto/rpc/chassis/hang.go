package chassis

import (
	"context"
	"log/slog"
	"path"
	"sync"
	"time"
)

// hangs finds calls whose handler goes on long after the call is over: it waits for what nothing
// ends, as a disk that is gone. The service and the server as a whole are not serving meanwhile.
type hangs struct {
	after  time.Duration
	serve  func(service string, serving bool)
	logger *slog.Logger

	mu    sync.Mutex
	calls map[string]int // by service, and "" for all
	since time.Time      // when the first of them was over
	first string
}

func newHangs(config Config, serve func(service string, serving bool)) *hangs {
	return &hangs{after: config.HangsAfter, serve: serve, logger: config.Logger,
		calls: map[string]int{}}
}

func (h *hangs) around(ctx context.Context, call about, next handler) error {
	ended := make(chan struct{})
	defer close(ended)
	defer context.AfterFunc(ctx, func() { h.watch(ctx, call.method, ended) })()
	return next(ctx)
}

func (h *hangs) watch(ctx context.Context, method string, ended <-chan struct{}) {
	late := time.NewTimer(h.after)
	defer late.Stop()
	select {
	case <-ended:
		return
	case <-late.C:
	}
	began := time.Now()
	h.count(method, +1)
	h.logger.Error("a call hangs", "method", method, "request_id", RequestID(ctx),
		"peer", peerName(ctx), "over_since", h.after)
	<-ended
	h.count(method, -1)
	h.logger.Warn("a call that hung has ended", "method", method, "request_id", RequestID(ctx),
		"duration", h.after+time.Since(began))
}

func (h *hangs) count(method string, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if by > 0 && h.calls[""] == 0 {
		h.first, h.since = method, time.Now().Add(-h.after)
	}
	for _, service := range []string{path.Base(path.Dir(method)), ""} {
		h.calls[service] += by
		h.serve(service, h.calls[service] == 0)
	}
}

// Hanging is the method of the call that was the first to hang, of those that hang since then, and
// when it was over; a zero time when none hangs.
func (s *Server) Hanging() (method string, since time.Time) {
	h := s.hangs
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls[""] == 0 {
		return "", time.Time{}
	}
	return h.first, h.since
}
