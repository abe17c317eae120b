package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/backup"
	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const jobID = "01a20494-d160-738a-9eb3-bf50ac338cac"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plane is a control plane's state directory, whose store is open as that of one that runs.
type plane struct {
	t     *testing.T
	dir   string
	store *store.Store
}

func open(t *testing.T, dir string) *plane {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	must(t, os.MkdirAll(dir, 0o700))
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(dir, "understudy.db"),
		Logger: quiet})
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	_, err = ca.OpenAuthority(t.Context(), ca.AuthorityConfig{Dir: filepath.Join(dir, "ca"),
		Logger: quiet})
	must(t, err)
	return &plane{t: t, dir: dir, store: st}
}

// newPlane has one job, one token, a task of the provider manual, and a configuration.
func newPlane(t *testing.T) *plane {
	t.Helper()
	p := open(t, filepath.Join(t.TempDir(), "state"))
	must(t, os.MkdirAll(filepath.Join(p.dir, "manual", "tasks"), 0o700))
	must(t, os.WriteFile(filepath.Join(p.dir, "manual", "tasks", "t.json"), []byte("{}"), 0o600))
	must(t, os.WriteFile(filepath.Join(p.dir, "..", "u.yaml"), []byte("fleet: a\n"), 0o600))
	p.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(p.store.Jobs(tx).Insert(ctx, job.Job{ID: jobID, Kind: "k",
			Args: json.RawMessage("{}"), State: job.Queued, Mode: job.Forward, RequestID: "r",
			Created: time.Now(), Updated: time.Now()}),
			tx.JoinTokens().Insert(ctx, inventory.JoinToken{Hash: "h", Server: "db1",
				Created: time.Now(), Expires: time.Now().Add(time.Hour)}))
	})
	return p
}

func (p *plane) write(fn func(context.Context, *store.Tx) error) {
	p.t.Helper()
	must(p.t, p.store.Write(p.t.Context(), fn))
}

// claims claims the job that often and answers with the last epoch, as an agent sees it.
func (p *plane) claims(times int) (epoch int64) {
	p.t.Helper()
	for range times {
		p.write(func(ctx context.Context, tx *store.Tx) error {
			held, err := p.store.Jobs(tx).Holdings(ctx)
			if err != nil || len(held) != 1 {
				p.t.Fatalf("%v, %v", held, err)
			}
			claimed, err := p.store.Jobs(tx).Claim(ctx, held[0], "me")
			if !claimed {
				p.t.Error("not claimed")
			}
			epoch = held[0].Epoch + 1
			return err
		})
	}
	return epoch
}

func (p *plane) generation() (generation int64) {
	p.t.Helper()
	p.write(func(ctx context.Context, tx *store.Tx) (err error) {
		generation, err = tx.Generation(ctx)
		return err
	})
	return generation
}

// denials is the number of the list of who was revoked.
func (p *plane) denials() (number int64) {
	p.t.Helper()
	p.write(func(ctx context.Context, tx *store.Tx) (err error) {
		number, _, err = tx.Certificates().Revoked(ctx)
		return err
	})
	return number
}

// revoke revokes one certificate after the other.
func (p *plane) revoke(serials ...string) {
	p.t.Helper()
	p.write(func(ctx context.Context, tx *store.Tx) error {
		for _, serial := range serials {
			if err := tx.Certificates().Insert(ctx, inventory.Certificate{Serial: serial,
				Identity: serial, NotAfter: time.Now().Add(time.Hour)}); err != nil {
				return err
			}
			if _, err := tx.Certificates().Revoke(ctx, serial, "left"); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *plane) backup() string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), "backup.tar")
	m, err := backup.Create(p.t.Context(), backup.Config{StateDir: p.dir, Program: "v1",
		ConfigFile: filepath.Join(p.dir, "..", "u.yaml")}, path)
	must(p.t, err)
	if m.Schema < 1 || len(m.CAPin) != 64 || len(m.Files) != 5 {
		p.t.Errorf("manifest %+v", m)
	}
	return path
}

func restore(t *testing.T, path string, now time.Time) (*plane, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "restored")
	_, err := backup.Restore(t.Context(), backup.RestoreConfig{StateDir: dir,
		Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)}, path)
	if err != nil {
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("a refused restore leaves %v", left)
		}
		return nil, err
	}
	return open(t, dir), nil
}

func TestARoundTrip(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	path := p.backup()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	r, err := restore(t, path, time.Now())
	must(t, err)
	for name, of := range map[string]string{"ca/ca.pem": p.dir, "ca/key.pem": p.dir,
		"manual/tasks/t.json": p.dir} {
		want, err := os.ReadFile(filepath.Join(of, name))
		must(t, err)
		got, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(r.dir, "understudy.yaml")); err != nil ||
		string(got) != "fleet: a\n" {
		t.Errorf("the configuration: %q, %v", got, err)
	}
	must(t, r.store.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		token, err := tx.JoinTokens().Get(ctx, "h")
		if token.Expires.After(time.Now()) {
			t.Error("a join token outlives the restore")
		}
		return err
	}))
	if _, err := backup.Create(t.Context(), backup.Config{StateDir: p.dir},
		path); !errors.Is(err, os.ErrExist) {
		t.Errorf("over another file: %v", err)
	}
}

// systemd, a package or mkfs may have made the directory, and a restore may have been killed in it.
func TestAnEmptyDirectoryIsFine(t *testing.T) {
	t.Parallel()
	path, dir := newPlane(t).backup(), t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "lost+found"), 0o700))
	killed := filepath.Join(dir, ".understudy-restore-1", "ca")
	must(t, os.MkdirAll(killed, 0o700))
	_, err := backup.Restore(t.Context(), backup.RestoreConfig{StateDir: dir,
		Logger: slog.New(slog.DiscardHandler)}, path)
	must(t, err)
	if _, err := os.Stat(filepath.Join(dir, "ca", "key.pem")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(killed); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed restore left: %v", err)
	}
}

// A backup that was killed leaves a copy of the CA's key; the next one removes it, and leaves alone
// what a running one works on.
func TestABackupRemovesWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	p, into := newPlane(t), t.TempDir()
	killed, running := filepath.Join(into, ".understudy-backup-1"),
		filepath.Join(into, ".understudy-backup-2")
	must(t, os.MkdirAll(filepath.Join(killed, "ca"), 0o700))
	must(t, os.Mkdir(running, 0o700))
	lock, err := os.Open(running)
	must(t, err)
	defer lock.Close()
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	_, err = backup.Create(t.Context(), backup.Config{StateDir: p.dir},
		filepath.Join(into, "b.tar"))
	must(t, err)
	left, err := filepath.Glob(filepath.Join(into, ".*"))
	if err != nil || len(left) != 1 || left[0] != running {
		t.Errorf("there are %v, %v", left, err)
	}
}

// An agent refuses an epoch that is lower than the highest that it has seen of a job.
func TestEpochsNeverGoBack(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.claims(2)
	path := p.backup()
	seen, generation := p.claims(40), p.generation()
	now := time.Now()
	for range 3 { // of the same backup, again and again
		r, err := restore(t, path, now)
		must(t, err)
		got := r.claims(1)
		if got <= seen {
			t.Errorf("claimed under epoch %d, agents have seen %d", got, seen)
		}
		if got := r.generation(); got <= generation {
			t.Errorf("generation %d after %d", got, generation)
		}
		generation = r.generation()
		seen, now = r.claims(20), now.Add(time.Minute)
	}
}

// An agent refuses a list of who was revoked whose number is lower than that of one that it has.
func TestTheNumberOfTheDenyListNeverGoesBack(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.revoke("one")
	path := p.backup()
	p.revoke("two", "three")
	seen, now := p.denials(), time.Now()
	for range 3 { // of the same backup, again and again
		r, err := restore(t, path, now)
		must(t, err)
		if got := r.denials(); seen < 3 || got <= seen {
			t.Errorf("list %d, agents have %d", got, seen)
		}
		r.revoke("four")
		seen, now = r.denials(), now.Add(time.Minute)
	}
}

func TestWhatABackupCannotKnow(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	before := time.Now().Add(-time.Minute)
	path := p.backup()
	at := time.Now()
	r, err := restore(t, path, at.Add(time.Hour))
	must(t, err)
	must(t, r.store.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for when, want := range map[time.Time]bool{before: false, at.Add(time.Minute): true,
			at.Add(4 * time.Hour): false} {
			if lost, err := tx.Lost(ctx, "agents/db-1", when); err != nil || lost != want {
				t.Errorf("recorded at %s: %v, %v", when, lost, err)
			}
		}
		return nil
	}))
}

func TestADamagedArchiveWritesNothing(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(newPlane(t).backup())
	must(t, err)
	key := bytes.Index(whole, []byte("BEGIN PRIVATE KEY"))
	flip := func(at int) []byte {
		spoilt := bytes.Clone(whole)
		spoilt[at] ^= 1
		return spoilt
	}
	for name, content := range map[string][]byte{
		"a bit of the key": flip(key + 40), "a bit of the store": flip(len(whole) - 3000),
		"cut off": whole[:len(whole)/2], "empty": nil,
		"no archive": []byte(strings.Repeat("x", 600)),
		"another name": bytes.Replace(whole, []byte("manual/tasks/t.json\x00"),
			[]byte("../../../../../../a\x00"), 1),
	} {
		path := filepath.Join(t.TempDir(), "backup.tar")
		must(t, os.WriteFile(path, content, 0o600))
		if _, err := restore(t, path, time.Now()); err == nil || errs.HintOf(err).Empty() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	path := p.backup()
	_, err := backup.Restore(t.Context(), backup.RestoreConfig{StateDir: p.dir}, path)
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_ALREADY_EXISTS {
		t.Errorf("over a live one: %v", err)
	}
	whole, err := os.ReadFile(path)
	must(t, err)
	for _, field := range []string{"schema", "format"} {
		newer := regexp.MustCompile(`"`+field+`": \d`).ReplaceAll(whole,
			[]byte(`"`+field+`":99`))
		must(t, os.WriteFile(path, newer, 0o600))
		_, err = restore(t, path, time.Now())
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_STORE_MISMATCH {
			t.Errorf("newer %s: %v", field, err)
		}
	}
	if _, err := backup.Create(t.Context(), backup.Config{StateDir: t.TempDir()},
		filepath.Join(t.TempDir(), "b")); err == nil {
		t.Error("a backup of nothing")
	}
}
