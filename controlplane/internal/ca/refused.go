package ca

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

const (
	// refusedAction is how events name a key or a machine that was proved and refused.
	refusedAction = "identity.refused"
	// refusedEvery is the least time between two events about one key. An agent that is left behind
	// asks every five minutes.
	refusedEvery = 24 * time.Hour
	// mostRefused bounds what is remembered: keys on record, and machines, that were refused in
	// that time.
	mostRefused = 4096
)

// refusals are the keys and machines whose refusal is an event already.
type refusals struct {
	mu sync.Mutex
	at map[string]time.Time // by print, or by machine
}

// first says whether the key of that print, or the machine, was not refused of late.
func (r *refusals) first(print string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, known := r.at[print]; known && now.Sub(last).Abs() < refusedEvery {
		return false
	}
	if r.at == nil || len(r.at) >= mostRefused {
		r.at = map[string]time.Time{}
	}
	r.at[print] = now
	return true
}

// noteRefused writes the event of a key that was proved and refused: that of a host that was left
// behind, of a copy of it, or of a thief. Who has no key of a certificate on record makes none.
func (e *expired) noteRefused(ctx context.Context, req ExpiredRequest, why error) {
	now := e.config.Now().UTC()
	if e.own.Serial == "" || errs.KindOf(why) != errs.Unauthenticated ||
		!e.refusals.first(e.print, now) {
		return
	}
	who := e.peer.Identity
	by := Caller{Peer: e.peer, RequestID: req.RequestID}
	addRefusal(ctx, e.Registry, by.event(now, refusedAction, RevokeRequest{Who: who}.subject(),
		fmt.Sprintf("the key of certificate %s, from %s: %v",
			e.own.Serial, req.Address, why)))
}

// addRefusal writes the event. Who is refused does not decide whether that is on record.
func addRefusal(ctx context.Context, r *Registry, event inventory.Event) {
	err := r.write(context.WithoutCancel(ctx), "cannot record a refusal",
		func(ctx context.Context, records Records) error {
			return records.Events.Add(ctx, event)
		})
	r.config.Alarm(event.Action)
	if err != nil {
		r.config.Logger.Error("somebody was refused, and that is not on record", "identity",
			event.Actor, "message", event.Message, "error", err)
	}
}
