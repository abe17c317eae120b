package audit_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// Calls that are as long as they may be take no more bytes than a caller has.
func TestAFloodOfLongRefusedCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, kept := newLog(t)
		long := call(identity.Agent("db2"))
		var names []string
		for i := range 15 {
			names = append(names, fmt.Sprint(i, strings.Repeat("x", 500)))
		}
		long.Request = &agentv1.ChecksumTablesRequest{Tables: names}
		for range 12 * 3600 {
			log.Refused(t.Context(), long, errs.PermissionDenied)
			time.Sleep(time.Second)
		}
		log.Flush(t.Context())
		var bytes, whole int
		var calls int64
		for _, r := range kept.records {
			bytes += len(r.Parameters) + len(r.Who) + len(r.Method) + len(r.Error)
			if calls += r.Count; r.Kind == audit.Refused {
				calls++
			}
			if strings.Contains(string(r.Parameters), "xxx") {
				whole++
			}
		}
		if whole < 20 || whole > 40 || calls != 12*3600 || bytes > 3<<20 {
			t.Errorf("%d bytes, %d whole ones, %d calls", bytes, whole, calls)
		}
		if last := kept.records[60].Parameters; !strings.Contains(string(last), "sha256") {
			t.Errorf("behind the first ones: %.80s", last)
		}
	})
}

// hung is a disk that answers nothing.
type hung struct{ *memory }

func (h hung) Append(ctx context.Context, _ audit.Record) (int64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// What gives back what is held runs on a full disk, and on one that hangs. It is counted, until the
// count can be written.
func TestAReleaseNeedsNoAudit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept := &memory{full: true}
		log, err := audit.New(audit.Config{Sink: kept, Key: audit.Key("key"),
			Logger: slog.New(slog.DiscardHandler), Releases: []string{"/a/B"}})
		if err != nil {
			t.Fatal(err)
		}
		release := func() {
			t.Helper()
			begun := time.Now()
			seq, err := log.Begin(t.Context(), call(identity.ControlPlane()))
			if err != nil || seq != 0 || time.Since(begun) > 3*time.Second {
				t.Errorf("record %d after %s, %v", seq, time.Since(begun), err)
			}
			log.End(t.Context(), call(identity.ControlPlane()), seq, nil)
		}
		release()
		log.Sink = hung{kept}
		release()
		time.Sleep(time.Minute)
		kept.full, log.Sink = false, kept
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(kept.records) != 1 || kept.records[0].Kind != audit.LeftOut ||
			kept.records[0].Count != 2 || kept.records[0].Method != "/a/B" {
			t.Errorf("%+v", kept.records)
		}
		if seq, err := log.Begin(t.Context(), call(identity.ControlPlane())); seq != 2 ||
			err != nil {
			t.Errorf("with room: record %d, %v", seq, err)
		}
	})
}
