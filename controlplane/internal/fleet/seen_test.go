package fleet

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// TestSeenIsWhatIsKnownHere: the record is as old as its last write.
func TestSeenIsWhatIsKnownHere(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{})
	f.m.followed["db2"] = f
	f.heard = time.Now().Add(-3 * time.Second)
	for _, state := range []inventory.ServerState{inventory.ServerReady,
		inventory.ServerDegraded, inventory.ServerProvisioning} {
		shown := f.m.Shown(inventory.Server{Name: "db2", State: state,
			LastSeen: time.Now().Add(-9 * time.Second)}).LastSeen
		if d := shown.Sub(f.heard).Abs(); d > time.Second {
			t.Errorf("%s: it is shown %s off", state, d)
		}
	}
	later := time.Now().Add(-time.Second)
	if shown := f.m.Shown(inventory.Server{Name: "db2", LastSeen: later}).LastSeen; shown != later {
		t.Errorf("a job saw it at %s, and %s is shown", later, shown)
	}
	f.last.At = time.Time{} // it has answered nothing yet
	if shown := f.m.Shown(inventory.Server{Name: "db2"}).LastSeen; !shown.IsZero() {
		t.Errorf("it has never answered, and was seen at %s", shown)
	}
}

// TestWhatIsRecordedIsTheAnswer and not the time of the write.
func TestWhatIsRecordedIsTheAnswer(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.add("db1", inventory.ServerReady)
	var f *follower
	for answered := false; !answered; time.Sleep(testBeat) {
		if f = w.m.follower("db1"); f != nil {
			_, answered = f.seen()
		}
	}
	w.stop()
	f.heard = time.Now().Add(time.Hour) // so that it is later than all that is on record
	if err := w.m.touch(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := w.get("db1").LastSeen
	if d := f.heard.Sub(seen); d < 0 || d > 2*time.Second {
		t.Errorf("it answered %s after what is on record", d)
	}
	f.heard = f.heard.Add(time.Minute)
	w.m.touched = f.heard.Add(time.Second) // it has not answered since the round before
	if err := w.m.touch(t.Context()); err != nil || w.get("db1").LastSeen != seen {
		t.Errorf("it has not answered, and was seen at %s: %v", w.get("db1").LastSeen, err)
	}
}

// TestAFollowerIsStartedAsAWhole: it is asked as soon as it has its place.
func TestAFollowerIsStartedAsAWhole(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.stop()
	f := newFollower(w.m, inventory.Server{Name: "db1"})
	started := make(chan struct{})
	f.mu.Lock()
	go func() {
		f.start(context.Background())
		close(started)
	}()
	for range 10000 {
		runtime.Gosched()
	}
	select {
	case <-started:
		t.Error("it was started while somebody asked it")
	default:
	}
	f.mu.Unlock()
	<-started
	f.leave()
}
