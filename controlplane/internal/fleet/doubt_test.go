package fleet

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

// TestADoubtEndsBesideAFindingOfItsCodeThatUnprovesNothing has a delay, where a filter was.
func TestADoubtEndsBesideAFindingOfItsCodeThatUnprovesNothing(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{ProvedSince: func(_ inventory.Server, since time.Time) bool {
		return time.Since(since) > 0
	}})
	f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
		replication.Status{Answers: true, BinlogHistory: "one"})
	look := func() {
		found := f.judge()
		f.doubt(&f.srv, found, time.Now())
		f.srv.Findings = findings(found, f.srv.Findings, time.Now())
	}
	f.last.Settings = map[string]string{"replicate_ignore_db": "app"}
	look()
	f.last.Settings = map[string]string{"sql_delay": "60"}
	f.last.Connections[0].Settings = f.last.Settings
	look() // it was there until now
	look()
	if _, is := f.srv.UnprovedData(); is || len(f.judge()) != 1 ||
		f.judge()[0].Code != replication.LossySettings {
		t.Errorf("found %v, doubted %+v", f.judge(), f.srv.DataUnproved)
	}
}

// TestADoubtOutlivesAStoreThatIsAway has a filter that is over before the record can be written.
func TestADoubtOutlivesAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	st := storetest.New(t)
	f := judged(t, MonitorConfig{Store: st, Log: slog.New(slog.DiscardHandler),
		ProvedSince: func(inventory.Server, time.Time) bool { return false }})
	f.m.followed["db2"] = f
	f.srv.State = inventory.ServerReady
	srv := f.srv
	if err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx, &srv)
	}); err != nil {
		t.Fatal(err)
	}
	f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
		replication.Status{Answers: true, BinlogHistory: "one"})
	f.last.Settings = map[string]string{"replicate_ignore_db": "app"}
	f.assess()
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.m.recordSome(away); err == nil {
		t.Fatal("the store is not away: there is nothing to test")
	}
	f.last.Settings = nil
	f.assess()
	if err := f.m.recordSome(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u, is := f.record().UnprovedData(); !is || u.Code != string(replication.LossySettings) {
		t.Errorf("on record: %+v", u)
	}
	if f.doubted != nil {
		t.Error("it would be doubted again, once all data is proved")
	}
}
