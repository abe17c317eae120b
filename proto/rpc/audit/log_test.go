package audit_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// memory keeps records, unless it is full.
type memory struct {
	mu      sync.Mutex
	records []audit.Record
	full    bool
	hangs   bool
}

func (m *memory) now(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *memory) all() (records []audit.Record) {
	m.now(func() { records = slices.Clone(m.records) })
	return records
}

func (m *memory) Append(ctx context.Context, r audit.Record) (int64, error) {
	var hangs bool
	if m.now(func() { hangs = m.hangs }); hangs {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return 0, errors.New("no space left on device")
	}
	r.Seq = int64(len(m.records) + 1)
	m.records = append(m.records, r)
	return r.Seq, nil
}

func newLog(t *testing.T) (*audit.Log, *memory) {
	t.Helper()
	kept := &memory{}
	log, err := audit.New(audit.Config{Sink: kept, Key: audit.Key("key"),
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return log, kept
}

func call(who identity.Identity) audit.Call {
	return audit.Call{Peer: identity.Peer{Identity: who, Address: "192.0.2.1:5"}, Method: "/a/B",
		RequestID: "r1", Request: &agentv1.EnsureReplicationAccountRequest{User: "repl",
			Password: "hunter2hunter2"}}
}

func TestACallIsRecordedBeforeAndAfter(t *testing.T) {
	t.Parallel()
	log, kept := newLog(t)
	seq, err := log.Begin(t.Context(), call(identity.Operator("ann")))
	if err != nil {
		t.Fatal(err)
	}
	log.End(t.Context(), call(identity.Operator("ann")), seq, errs.New(errs.NotFound,
		errorsv1.Reason_REASON_NOT_FOUND, "there is no db1"))
	records := kept.all()
	begin, end := records[0], records[1]
	if begin.Kind != audit.Begin || begin.Who != "spiffe://understudy/operator/ann" ||
		begin.Address != "192.0.2.1:5" || begin.RequestID != "r1" ||
		!strings.Contains(string(begin.Parameters), `"user":"repl"`) ||
		strings.Contains(string(begin.Parameters), "hunter2") {
		t.Errorf("begin %+v with %s", begin, begin.Parameters)
	}
	if end.Kind != audit.End || end.Of != seq || end.Code != "NotFound" ||
		end.Reason != "NOT_FOUND" || end.Error != "there is no db1" {
		t.Errorf("end %+v", end)
	}
}

func TestACallThatCannotBeRecordedIsRefused(t *testing.T) {
	t.Parallel()
	log, kept := newLog(t)
	kept.now(func() { kept.full = true })
	_, err := log.Begin(t.Context(), call(identity.ControlPlane()))
	if !errors.Is(err, errs.Unavailable) ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_AUDIT_UNAVAILABLE {
		t.Errorf("%v", err)
	}
}

// A flood of refused calls leaves as many records as its rate allows, and one with the number of
// all others; the records of another caller are all there.
func TestAFloodOfRefusedCallsIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, kept := newLog(t)
		for range 5000 {
			log.Refused(t.Context(), call(identity.Anonymous()), errs.Unauthenticated)
		}
		log.Refused(t.Context(), call(identity.Operator("ann")), errs.PermissionDenied)
		if n := len(kept.all()); n != 41 {
			t.Errorf("%d records", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		records := kept.all()
		last := records[len(records)-1]
		if len(records) != 42 || last.Kind != audit.LeftOut || last.Count != 4960 ||
			last.Who != "anonymous" || last.Since.IsZero() {
			t.Errorf("%d records, the last %+v", len(records), last)
		}
		log.Refused(t.Context(), call(identity.Anonymous()), errs.Unauthenticated)
		if last = kept.all()[len(kept.all())-1]; last.Kind != audit.Refused {
			t.Errorf("a minute later %+v", last)
		}
	})
}

// What could not be written is counted, and the number is written once it can be.
func TestRefusedCallsOnAFullDiskAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, kept := newLog(t)
		kept.now(func() { kept.full = true })
		log.Refused(t.Context(), call(identity.Operator("ann")), errs.PermissionDenied)
		kept.now(func() { kept.full = false })
		log.Flush(t.Context())
		if len(kept.all()) != 1 || kept.all()[0].Count != 1 {
			t.Errorf("records %+v", kept.all())
		}
	})
}

func TestWhoOnlyRenewsCannotFillTheAudit(t *testing.T) {
	t.Parallel()
	for who, bounded := range map[identity.Identity]bool{identity.Agent("db1"): true,
		identity.Viewer("vic"): true, identity.Anonymous(): true, identity.Operator("ann"): true,
		identity.ControlPlane(): false} {
		log, kept := newLog(t)
		var err error
		for range 3000 {
			if _, err = log.Begin(t.Context(), call(who)); err != nil {
				break
			}
		}
		if bounded != errors.Is(err, errs.ResourceExhausted) ||
			bounded && len(kept.all()) > 2100 {
			t.Errorf("%s: %d records, %v", who, len(kept.all()), err)
		}
	}
}

// Of what the control plane calls all the time one call an hour is recorded, and a count.
func TestARoutineIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, kept := newLog(t)
		log.Routine = map[string]time.Duration{"/a/B": time.Hour}
		for range 2 * 3600 / 10 {
			seq, err := log.Begin(t.Context(), call(identity.ControlPlane()))
			if err != nil {
				t.Fatal(err)
			}
			log.End(t.Context(), call(identity.ControlPlane()), seq, nil)
			time.Sleep(10 * time.Second)
		}
		log.Flush(t.Context())
		var calls, counted int64
		for _, r := range kept.all() {
			if r.Kind == audit.Begin {
				calls++
			}
			if counted += r.Count; r.Kind == audit.LeftOut && r.Method != "/a/B" {
				t.Errorf("counted as %+v", r)
			}
		}
		if calls+counted != 720 || calls > 3 || len(kept.all()) > 12 {
			t.Errorf("%d calls, %d counted, %d records", calls, counted, len(kept.all()))
		}
		if _, err := log.Begin(t.Context(), call(identity.Operator("ann"))); err != nil ||
			kept.all()[len(kept.all())-1].Who != "spiffe://understudy/operator/ann" {
			t.Error("an operator's call of the same method is not recorded")
		}
	})
}
