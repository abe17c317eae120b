package trail_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/controlplane/internal/trail"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// world is an audit, and whoever can write to its store.
type world struct {
	*trail.Trail
	t      *testing.T
	config trail.Config
	db     *sql.DB
	log    *strings.Builder
	ago    time.Duration // by how much the store's clock is slow
}

func newWorld(t *testing.T) *world {
	t.Helper()
	var path string
	w := &world{t: t, log: &strings.Builder{}}
	st := storetest.New(t, func(c *store.Config) {
		path = c.Path
		c.Now = func() time.Time { return time.Now().Add(-w.ago) }
	})
	key, err := trail.OpenKey(filepath.Join(t.TempDir(), "audit.key"))
	if err != nil {
		t.Fatal(err)
	}
	w.config = trail.Config{Store: st, Key: key, Notes: filepath.Join(t.TempDir(), "audit.json"),
		Logger: slog.New(slog.NewTextHandler(w.log, nil))}
	w.restart()
	if w.db, err = sql.Open("sqlite", path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	return w
}

// restart forgets what the process knew.
func (w *world) restart() {
	w.t.Helper()
	var err error
	if w.Trail, err = trail.New(w.config); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) append(n int, at time.Time) {
	w.t.Helper()
	for i := range n {
		r := audit.Record{Time: at.Add(time.Duration(i) * time.Second), Kind: audit.Begin,
			Who: "spiffe://understudy/operator/ann", Method: "/a/B"}
		seq, err := w.Append(w.t.Context(), r)
		if err != nil {
			w.t.Fatal(err)
		}
		if i%2 == 0 {
			continue
		}
		if _, err := w.Append(w.t.Context(), audit.Record{Time: r.Time, Kind: audit.End,
			Of: seq, Code: "OK"}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) exec(query string) {
	w.t.Helper()
	if _, err := w.db.ExecContext(w.t.Context(), query); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) verify(noted ...audit.Head) audit.Result {
	w.t.Helper()
	all, err := w.Verify(w.t.Context(), "", noted...)
	if err != nil {
		w.t.Fatal(err)
	}
	return all[0].Result
}

// Somebody has the store, and not the control plane's host.
func TestAttacksOnTheStore(t *testing.T) {
	t.Parallel()
	const cut = "DELETE FROM audit_records WHERE seq > 10; "
	for name, test := range map[string]struct {
		attack, want string
		before       func(*world)
	}{
		"row deleted":   {attack: "DELETE FROM audit_records WHERE seq = 5", want: "5 to 5 are"},
		"first deleted": {attack: "DELETE FROM audit_records WHERE seq = 1", want: "1 to 1 are"},
		"all deleted":   {attack: "DELETE FROM audit_records", want: "the end was cut off"},
		"row rewritten": {attack: "UPDATE audit_records SET body = REPLACE(body, 'ann', 'bob') " +
			"WHERE seq = 5", want: "it was changed"},
		"filed as another's": {attack: "UPDATE audit_records SET who = 'bob' WHERE seq = 5",
			want: "{5 it is filed as something else"},
		"filed as another kind": {attack: "UPDATE audit_records SET kind = 'end' WHERE seq = 5",
			want: "{5 it is filed as something else"},
		"filed as another method": {attack: "UPDATE audit_records SET method = '' WHERE seq = 5",
			want: "{5 it is filed as something else"},
		"filed as older": {attack: "UPDATE audit_records SET at = at - 1 WHERE seq = 5",
			want: "{5 it is filed as something else"},
		"filed as the outcome of another call": {attack: "UPDATE audit_records SET of_seq = 4 " +
			"WHERE seq = 5", want: "{5 it is filed as something else"},
		"reordered": {attack: "UPDATE audit_records SET seq = 99 WHERE seq = 5; " +
			"UPDATE audit_records SET seq = 5 WHERE seq = 6; " +
			"UPDATE audit_records SET seq = 6 WHERE seq = 99", want: "records 5 to 5"},
		"copied from another place": {attack: "UPDATE audit_records SET (body, hash, seal) = " +
			"(SELECT body, hash, seal FROM audit_records WHERE seq = 3) WHERE seq = 5",
			want: "it stands behind record 4"},
		"end cut off": {attack: cut, want: "record 15 was noted"},
		"end cut off with the head, while it runs": {attack: cut + "UPDATE audit_heads SET " +
			"seq = 10, hash = (SELECT hash FROM audit_records WHERE seq = 10)",
			want: "record 15 was noted"},
		"end cut off with the head, before a restart": {attack: cut + "UPDATE audit_heads SET " +
			"seq = 10, hash = (SELECT hash FROM audit_records WHERE seq = 10)",
			want: "record 15 was noted", before: func(w *world) {
				if err := w.Note(w.t.Context()); err != nil {
					w.t.Error(err)
				}
				w.restart()
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append(10, time.Now())
			if got := w.verify(); got.Count != 15 || len(got.Problems) > 0 || len(got.Open) != 5 {
				t.Fatalf("before: %+v", got)
			}
			if test.before != nil {
				test.before(w)
			}
			w.exec(test.attack)
			got := fmt.Sprint(w.verify().Problems)
			if test.want == "" && got != "[]" || !strings.Contains(got, test.want) {
				t.Errorf("found %s, want %q", got, test.want)
			}
			// A note that the chain does not fit is not replaced by one that it fits.
			w.append(20, time.Now())
			if err := w.Note(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(w.verify().Problems); test.want != "" && got == "[]" {
				t.Error("nothing is found any more once the chain has gone on")
			}
		})
	}
}

// Who has the store writes another chain, whole in itself. Without the key it has no seals.
func TestAnotherChainInItsPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(4, time.Now())
	own := w.config
	w.exec("DELETE FROM audit_records; DELETE FROM audit_heads")
	w.config.Key = audit.Key("guessed")
	w.restart()
	w.append(8, time.Now())
	w.config = own
	w.restart()
	if got := fmt.Sprint(w.verify().Problems); !strings.Contains(got, "its seal is wrong") {
		t.Errorf("found %s", got)
	}
}

// A head that somebody noted finds what even the key can write.
func TestANotedHeadFindsAnotherChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(4, time.Now())
	noted := w.verify().Head
	w.exec("DELETE FROM audit_records; DELETE FROM audit_heads")
	w.restart()
	w.append(8, time.Now().Add(time.Hour))
	if got := w.verify(); len(got.Problems) > 0 {
		t.Fatalf("without the note: %v", got.Problems)
	}
	if got := fmt.Sprint(w.verify(noted).Problems); !strings.Contains(got, "it was replaced") {
		t.Errorf("found %s", got)
	}
}

func TestPruning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := time.Now().Add(-1000 * time.Hour)
	w.append(300, old)
	if err := w.Note(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.append(4, time.Now())
	for range 2 {
		if removed, err := w.Prune(t.Context(), old); removed != 0 || err != nil {
			t.Errorf("nothing is old enough: %d, %v", removed, err)
		}
	}
	removed, err := w.Prune(t.Context(), time.Now().Add(-time.Hour))
	if removed != 450 || err != nil {
		t.Errorf("pruned %d, %v", removed, err)
	}
	w.restart()
	got := w.verify()
	if len(got.Problems) > 0 || got.First != 451 || got.Count != 7 || len(got.Open) != 2 {
		t.Errorf("after it: %+v", got)
	}
	if err := w.Note(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.exec("DELETE FROM audit_records WHERE seq = 451")
	if got := fmt.Sprint(w.verify().Problems); !strings.Contains(got, "451 to 451 are missing") {
		t.Errorf("one more than was pruned: %s", got)
	}
}

// A crash between the record of pruning and the last deletion leaves some to the next time.
func TestPruningGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(300, time.Now().Add(-1000*time.Hour))
	w.append(2, time.Now())
	w.exec("CREATE TRIGGER t BEFORE DELETE ON audit_records WHEN OLD.seq > 200 BEGIN " +
		"SELECT RAISE(ABORT, 'crash'); END")
	if removed, err := w.Prune(t.Context(), time.Now().Add(-time.Hour)); err == nil {
		t.Errorf("pruned %d in spite of the crash", removed)
	}
	if got := w.verify(); len(got.Problems) > 0 || got.First != 201 {
		t.Errorf("after the crash: %+v", got)
	}
	w.exec("DROP TRIGGER t")
	if removed, err := w.Prune(t.Context(), time.Now().Add(-time.Hour)); removed != 250 ||
		err != nil {
		t.Errorf("the rest: %d, %v", removed, err)
	}
	if got := w.verify(); len(got.Problems) > 0 || got.First != 451 {
		t.Errorf("at the end: %+v", got)
	}
}

func TestManyAtOnceMakeOneChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10 {
				if _, err := w.Append(context.Background(), audit.Record{Kind: audit.Refused,
					Time: time.Now()}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		for range 10 {
			if got, err := w.Verify(context.Background(), ""); err != nil ||
				len(got[0].Problems) > 0 {
				t.Errorf("meanwhile: %v, %v", got, err)
			}
			if err := w.Note(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	if got := w.verify(); got.Count != 80 || len(got.Problems) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.key")
	first, err := trail.OpenKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := trail.OpenKey(path)
	if err != nil || string(again) != string(first) || len(first) != 32 {
		t.Errorf("%x, then %x, %v", first, again, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := trail.OpenKey(path); err == nil {
		t.Error("a broken key is taken")
	}
}
