package audit_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
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
		for _, r := range kept.all() {
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
		if !slices.ContainsFunc(kept.all(), func(r audit.Record) bool {
			return strings.HasPrefix(string(r.Parameters), `{"bytes":`)
		}) {
			t.Error("behind the first ones is no size")
		}
	})
}

// Who may change things does not fill the store with parameters: behind the first ones their size
// and hash is recorded, and every call is.
func TestAFloodOfLongAllowedCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, kept := newLog(t)
		long := call(identity.Operator("ann"))
		names := &agentv1.ChecksumTablesRequest{}
		for i := range 15 {
			names.Tables = append(names.Tables, fmt.Sprint(i, strings.Repeat("x", 500)))
		}
		long.Request = names
		const calls = 4 * 3600
		for range calls {
			if _, err := log.Begin(t.Context(), long); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second / 4)
		}
		bytes, whole := 0, 0
		for _, r := range kept.all() {
			if bytes += len(r.Parameters); strings.Contains(string(r.Parameters), "xxx") {
				whole++
			}
		}
		if len(kept.all()) != calls || whole < 400 || bytes > 12<<20 {
			t.Errorf("%d records of %d calls, %d bytes, %d whole ones", len(kept.all()), calls,
				bytes, whole)
		}
	})
}

// A machine that repeats a good token, and a rack behind one address, leave room for others.
func TestEnrolmentsOfOneAddressLeaveRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, _ := newLog(t)
		enrols := func(address string) error {
			joining := call(identity.Anonymous())
			joining.Peer.Address = address
			_, err := log.Begin(t.Context(), joining)
			return err
		}
		for i := range 100 {
			if err := enrols("192.0.2.1:4711"); err != nil {
				t.Fatalf("machine %d behind one address: %v", i, err)
			}
		}
		var err error
		for range 10_000 {
			err = enrols("192.0.2.1:4712")
		}
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_RATE_LIMITED {
			t.Errorf("a flood from one address: %v", err)
		}
		for i := range 100 {
			if err := enrols(fmt.Sprintf("198.51.100.%d:4711", i)); err != nil {
				t.Fatalf("a machine at another address: %v", err)
			}
		}
		refused := 0
		for i := range 10_000 { // the total holds them, and what is remembered is bounded
			if enrols(fmt.Sprintf("[2001:db8:%x::1]:4711", i)) != nil {
				refused++
			}
		}
		if refused < 8_000 {
			t.Errorf("%d of 10,000 were refused", refused)
		}
		time.Sleep(time.Minute)
		if err := enrols("192.0.2.1:4711"); err != nil {
			t.Errorf("the address a minute later: %v", err)
		}
	})
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
		kept.now(func() { kept.hangs = true })
		release()
		time.Sleep(time.Minute)
		kept.now(func() { kept.full, kept.hangs = false, false })
		time.Sleep(time.Minute)
		synctest.Wait()
		records := kept.all()
		if len(records) != 1 || records[0].Kind != audit.LeftOut || records[0].Count != 2 ||
			records[0].Method != "/a/B" {
			t.Errorf("%+v", records)
		}
		if seq, err := log.Begin(t.Context(), call(identity.ControlPlane())); seq != 2 ||
			err != nil {
			t.Errorf("with room: record %d, %v", seq, err)
		}
	})
}
