package manual

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// records are all that this provider knows. They are one file that is replaced as a whole, so that
// an object's state and the task that it waits for are never apart, whatever crashes.
type records struct {
	Machines  map[string]*machine
	Volumes   map[string]*volume
	Snapshots map[string]*snapshot
	Tasks     map[string]*task
	// Refusals are answers that nobody was told yet, by kind of task and object.
	Refusals map[string]string
}

type machine struct {
	provider.Machine
	Token, Params string
	Label         string
	EndedAt       time.Time
}

type volume struct {
	provider.Volume
	Token, Params string
	Device        string
	Label         string
}

type snapshot struct {
	provider.Snapshot
	Label string
}

type task struct {
	provider.Task
	// Former is a volume's size before it was to grow.
	Former   int64     `json:",omitempty"`
	ClosedAt time.Time `json:",omitzero"`
}

func (l *ledger) file() string { return filepath.Join(l.cfg.Dir, "records.json") }

func (l *ledger) read() (*records, error) {
	r := &records{}
	data, err := os.ReadFile(l.file())
	if err == nil {
		err = json.Unmarshal(data, r)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the records of the manual provider in %s: %w", l.file(),
			err)
	}
	for _, m := range []func(){
		func() { r.Machines = orEmpty(r.Machines) }, func() { r.Volumes = orEmpty(r.Volumes) },
		func() { r.Snapshots = orEmpty(r.Snapshots) },
		func() { r.Tasks = orEmpty(r.Tasks) }, func() { r.Refusals = orEmpty(r.Refusals) },
	} {
		m()
	}
	return r, nil
}

func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// change reads the records, changes them and writes them; an error of fn leaves them as they are,
// unless it is a refusal that is told now.
func (l *ledger) change(ctx context.Context, fn func(r *records) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if !l.tidy {
		if err := atomicfile.Tidy(l.file()); err != nil {
			return err
		}
		l.tidy = true
	}
	r, err := l.read()
	if err != nil {
		return err
	}
	failed := fn(r)
	if failed != nil && !errors.Is(failed, provider.ErrRefused) {
		return failed
	}
	r.forget(l.cfg.Now().Add(-keepClosed))
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(failed, atomicfile.Write(l.file(), data, 0o600))
}

// lock keeps another process out that was given the same folder.
func (l *ledger) lock() (unlock func(), err error) {
	if err := os.MkdirAll(l.cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(l.cfg.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock the records of the manual provider: %w", err)
	}
	return func() { f.Close() }, nil
}

// forget drops what ended before then.
func (r *records) forget(before time.Time) {
	maps.DeleteFunc(r.Tasks, func(_ string, t *task) bool {
		return t.State != provider.TaskOpen &&
			t.ClosedAt.Before(before)
	})
	maps.DeleteFunc(r.Machines, func(_ string, m *machine) bool {
		return m.State == provider.MachineTerminated && m.EndedAt.Before(before)
	})
}

func find[T any](all map[string]*T, kind, id string) (*T, error) {
	found, ok := all[id]
	if !ok {
		return nil, provider.Errorf(provider.ErrNotFound, id, "%s %.40q not found", kind, id)
	}
	return found, nil
}

// list copies what fits, oldest first.
func list[T, S any](all map[string]*T, fits func(*T) bool, show func(*T) S,
	made func(*T) (time.Time, string)) []S {
	var found []*T
	for _, one := range all {
		if fits(one) {
			found = append(found, one)
		}
	}
	slices.SortFunc(found, func(a, b *T) int {
		at, aid := made(a)
		bt, bid := made(b)
		return cmpTime(at, aid, bt, bid)
	})
	var shown []S
	for _, one := range found {
		shown = append(shown, show(one))
	}
	return shown
}

func cmpTime(at time.Time, aid string, bt time.Time, bid string) int {
	if c := at.Compare(bt); c != 0 {
		return c
	}
	if aid < bid {
		return -1
	}
	return 1
}

func newID(prefix string) string {
	raw := make([]byte, 6)
	_, _ = rand.Read(raw) // never fails
	return prefix + "-" + hex.EncodeToString(raw)
}

// paramsOf tells requests under one token apart.
func paramsOf(request any) string {
	data, err := json.Marshal(request)
	if err != nil {
		return err.Error()
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func tokenReused(token, id string) error {
	return provider.Errorf(provider.ErrTokenReused, id,
		"client token %s was used for %s with other parameters", token, id)
}

// SetTags adds tags to a machine, volume or snapshot.
func (p *Provider) SetTags(ctx context.Context, id string, tags map[string]string) error {
	if err := provider.ValidateTags(tags); err != nil {
		return err
	}
	return p.change(ctx, func(r *records) error {
		var had *map[string]string
		if m, ok := r.Machines[id]; ok {
			had = &m.Tags
		} else if v, ok := r.Volumes[id]; ok {
			had = &v.Tags
		} else if s, ok := r.Snapshots[id]; ok {
			had = &s.Tags
		} else {
			return provider.Errorf(provider.ErrNotFound, id, "%.40q not found", id)
		}
		merged := orEmpty(maps.Clone(*had))
		maps.Copy(merged, tags)
		if err := provider.ValidateTags(merged); err != nil {
			return err
		}
		*had = merged
		return nil
	})
}
