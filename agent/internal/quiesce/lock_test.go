package quiesce

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"
)

// What a caller asks for is sent before another one may adopt, or not at all.
func TestNobodyAdoptsWhileItsCallerResumes(t *testing.T) {
	t.Parallel()
	m, _, _ := host(t)
	first := begin(t, m, offlineSpec())
	first.hold.conn.mu.Lock() // its message waits here
	answer := make(chan error)
	go func() { _, err := first.Resume(t.Context()); answer <- err }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for m.mu.TryLock() {
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			t.Fatal("another caller may adopt")
		case <-time.After(time.Millisecond):
		}
	}
	first.hold.conn.mu.Unlock()
	if err := <-answer; err != nil {
		t.Error(err)
	}
}

// The process does nothing for an agent while the next one takes its place.
func TestNoAgentTakesOverWhileAnotherOneAsks(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	asked := make(chan struct{})
	p := &process{first: &connection{dec: json.NewDecoder(ours)}}
	p.agent.conn = p.first
	p.release = func() {
		if p.agent.mu.TryLock() {
			t.Error("another agent may take over")
		}
		close(asked)
	}
	p.cancel = func(error) {}
	go p.listen(p.first)
	if err := json.NewEncoder(theirs).Encode(message{Resume: true}); err != nil {
		t.Fatal(err)
	}
	<-asked
}
