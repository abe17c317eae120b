package chassis

import (
	"context"
	"sync"

	"google.golang.org/grpc/tap"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// place is the room that a call takes. It is given back once the call is over and no handler works
// on it: one that hangs goes on after its caller left, and holds what it holds.
type place struct {
	free func()

	mu      sync.Mutex
	working bool
	over    bool
}

type placeKey struct{}

// enter is asked about each call once its metadata is there, before a request is read.
func (a *admission) enter(ctx context.Context, _ *tap.Info) (context.Context, error) {
	free, err := a.begin(identity.PeerOf(ctx))
	if err != nil {
		return ctx, errs.ToStatus(err)
	}
	p := &place{free: free}
	context.AfterFunc(ctx, p.end)
	return context.WithValue(ctx, placeKey{}, p), nil
}

// end is for when the call is over. It may be before a handler began, and then none begins.
func (p *place) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if !p.working {
		p.free()
	}
}

// work says whether a handler may begin.
func (p *place) work() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working = !p.over
	return p.working
}

// rest is for when the handler has returned.
func (p *place) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working = false
	if p.over {
		p.free()
	}
}

// keepPlace is the middleware that keeps a call's place until its handler has returned.
func keepPlace(ctx context.Context, _ about, next handler) error {
	p, _ := ctx.Value(placeKey{}).(*place)
	if !p.work() {
		return context.Cause(ctx)
	}
	defer p.rest()
	return next(ctx)
}
