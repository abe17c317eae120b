package observation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/marks"
	"github.com/understudy-db/understudy/agent/internal/observe"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// scripted has the observations that a test gives it.
type scripted struct {
	mu     sync.Mutex
	latest observe.Observation
	next   chan struct{}
}

func (s *scripted) Latest() (observe.Observation, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest, s.next
}

func (s *scripted) see(change func(*observe.Observation)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.latest)
	s.latest.At = time.Now()
	close(s.next)
	s.next = make(chan struct{})
}

// stream collects what is sent.
type stream struct {
	mu  sync.Mutex
	all []*agentv1.ObserveResponse
}

func (s *stream) send(m *agentv1.ObserveResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, m)
	return nil
}

func (s *stream) take() []*agentv1.ObserveResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

func TestFactsWhenTheyChangeAndBeatsOtherwise(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &scripted{next: make(chan struct{})}
		var over error
		service := New(source, func(context.Context) error { return over })
		sent := &stream{}
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		observe1 := func(s *stream, known string) {
			go func() { _ = service.observe(ctx, 5*time.Second, known, s.send) }()
		}
		observe1(sent, "")
		synctest.Wait()
		if got := sent.take(); len(got) != 0 {
			t.Fatalf("sent %v before anything was observed", got)
		}
		moving := int64(0)
		sample := func(readOnly bool) {
			moving++
			source.see(func(o *observe.Observation) {
				o.Status = mariadb.Status{Answers: true, Live: mariadb.Live{ReadOnly: readOnly,
					Holders:      fmt.Sprint("session 7, for ", moving, " s"),
					BinlogOffset: moving, Started: time.Unix(1000+moving%2, 0), History: "one",
					HistoryClaim: mariadb.HistoryClaim{ID: "one", Offset: moving},
					Replication:  []mariadb.Replication{{ReadFile: "b", ReadOffset: moving}}}}
			})
			synctest.Wait()
		}
		sample(true)
		first := sent.take()
		if len(first) != 1 || first[0].GetChange() != 1 || first[0].GetFacts() == nil {
			t.Fatalf("first %v", first)
		}
		for range 4 { // what moves is sent with the beat alone
			time.Sleep(time.Second)
			sample(true)
		}
		if got := sent.take(); len(got) != 0 {
			t.Fatalf("sent %v", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		beat := sent.take()
		if len(beat) != 1 || beat[0].GetFacts() != nil || beat[0].GetHash() != first[0].GetHash() ||
			beat[0].GetProgress().GetBinlogOffset() != 5 ||
			beat[0].GetProgress().GetHistoryClaim().GetOffset() != 5 ||
			beat[0].GetProgress().GetLockHolders() != "session 7, for 5 s" ||
			beat[0].GetProgress().GetConnections()[0].GetReadOffset() != 5 ||
			beat[0].GetAge().AsDuration() != time.Second {
			t.Fatalf("beat %v", beat)
		}
		sample(false)
		changed := sent.take()
		if len(changed) != 1 || changed[0].GetChange() != 2 || changed[0].GetFacts() == nil {
			t.Fatalf("changed %v", changed)
		}
		// One that has the facts is not sent them again.
		again := &stream{}
		observe1(again, changed[0].GetHash())
		synctest.Wait()
		if got := again.take(); len(got) != 1 || got[0].GetFacts() != nil ||
			got[0].GetChange() != 2 {
			t.Fatalf("sent %v to one that knows", got)
		}
		// A sampler that hangs is no silence: its age grows.
		time.Sleep(20 * time.Second)
		synctest.Wait()
		got := sent.take()
		if len(got) != 4 || got[3].GetAge().AsDuration() < 15*time.Second {
			t.Fatalf("%d beats of an old sample: %v", len(got), got)
		}
		// A caller that another one has taken over from hears nothing more.
		over = errors.New("taken over")
		if err := service.observe(ctx, time.Second, "", sent.send); !errors.Is(err, over) {
			t.Fatalf("ended with %v", err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := sent.take(); len(got) != 0 {
			t.Fatalf("sent %v after that", got)
		}
	})
}

// TestAUUIDIsOfTheFilesystemThatIsThere has another filesystem mounted since MariaDB was observed
// in full: on a device of the same number, too.
func TestAUUIDIsOfTheFilesystemThatIsThere(t *testing.T) {
	t.Parallel()
	seen := mariadb.Volume{Mount: "/srv/mariadb", Number: "8:16", MountID: 7, UUID: "old"}
	for name, c := range map[string]struct {
		now  observe.Volume
		uuid string
	}{
		"the same":                      {observe.Volume{Number: "8:16", MountID: 7}, "old"},
		"another device":                {observe.Volume{Number: "8:32", MountID: 8}, ""},
		"another device of that number": {observe.Volume{Number: "8:16", MountID: 8}, ""},
		"a kernel that does not tell":   {observe.Volume{Number: "8:16"}, "old"},
	} {
		c.now.Mount = seen.Mount
		got := toFacts(observe.Observation{Status: mariadb.Status{Volume: seen}, Volume: c.now})
		if uuid := got.GetMariadb().GetFilesystemUuid(); uuid != c.uuid {
			t.Errorf("%s: %q, want %q", name, uuid, c.uuid)
		}
	}
	noted := toFacts(observe.Observation{Marks: marks.Record{ID: "r", Last: 2,
		Marks: []marks.Mark{{Number: 2, Kind: "crash",
			Text: strings.Repeat("x", 2*maxText)}}}}).GetMarks()
	if noted.GetRecordId() != "r" || noted.GetLastNumber() != 2 ||
		noted.GetMarks()[0].GetNumber() != 2 || !noted.GetMarks()[0].GetLostRows() ||
		len(noted.GetMarks()[0].GetText()) != maxText {
		t.Errorf("told %v", noted)
	}
	if !toFacts(observe.Observation{Starting: true}).GetStarting() {
		t.Error("that the host is starting is not told")
	}
}
