package ca_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
)

// One host that asks for certificates as often at once as it may has one request of each of its two
// certificates at the signer, whose line is bounded: it does not fill it.
func TestOneHostDoesNotFillTheLineOfTheSigner(t *testing.T) {
	t.Parallel()
	h := newHSM(t)
	e := estateOf(buildWith(t, inSigner(h)), "db-1")
	var mu sync.Mutex
	inside, most, second := 0, 0, make(chan struct{}, 100)
	h.set(func() {
		h.during = func(context.Context) error {
			mu.Lock()
			inside++
			most = max(most, inside)
			if inside > 1 {
				second <- struct{}{}
			}
			mu.Unlock()
			look := time.NewTimer(100 * time.Millisecond) // as slow as signers are
			defer look.Stop()
			select {
			case <-second:
			case <-look.C:
			}
			mu.Lock()
			inside--
			mu.Unlock()
			return nil
		}
	})
	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() {
			_, err := e.registry.Renew(t.Context(), ca.RenewRequest{
				Peer: peer(t, e.hosts["db-1"]), Keys: ca.Keys{Agent: csr(t, newKey(t))}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if most != 1 {
		t.Errorf("%d requests of one host at the signer at once", most)
	}
}

// While the request of one host hangs at the signer, those of others get there.
func TestAHostDoesNotWaitForAnothersSignature(t *testing.T) {
	t.Parallel()
	h := newHSM(t)
	e := estateOf(buildWith(t, inSigner(h)), "db-1", "db-2")
	asked, free := h.hangs()
	var wait sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for _, server := range []string{"db-1", "db-1", "db-2"} {
		wait.Go(func() {
			_, _ = e.registry.Renew(ctx, ca.RenewRequest{Peer: peer(t, e.hosts[server]),
				Keys: keys(t)})
		})
	}
	for range 2 {
		<-asked
	}
	cancel() // who leaves gives the place in its line up
	wait.Wait()
	close(free)
	e.renew("db-1", true)
	e.renew("db-2", true)
}
