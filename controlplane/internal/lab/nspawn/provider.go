package nspawn

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
	"strings"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// Provider is one lab. It keeps nothing in memory that a second process would miss.
type Provider struct {
	cfg   Config
	lab   lab
	specs map[string]ImageSpec

	mu sync.Mutex
	up bool
}

var _ provider.Provider = (*Provider)(nil)

// New checks the configuration. The lab itself is made, or found again, by the first call
// that needs it. ErrInvalid.
func New(cfg Config) (*Provider, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, lab: lab{name: cfg.Name, dir: cfg.Dir}, specs: map[string]ImageSpec{}}
	for _, spec := range append(Builtin(), cfg.Images...) {
		if err := checkSpec(spec); err != nil {
			return nil, err
		}
		p.specs[spec.Name] = spec
	}
	return p, nil
}

// Name is "nspawn".
func (p *Provider) Name() string { return "nspawn" }

// HostAddress is the box's own address in the lab's network, which the machines reach the
// control plane at. It brings the lab up if need be.
func (p *Provider) HostAddress(ctx context.Context) (string, error) {
	unlock, err := p.enter(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	var record labRecord
	err = readJSON(p.lab.path("lab.json"), &record)
	return hostAddress(record.Subnet), err
}

// enter brings the lab up if it is not and takes its lock.
func (p *Provider) enter(ctx context.Context) (unlock func(), err error) {
	if err := p.ensureUp(ctx); err != nil {
		return nil, err
	}
	unlock, err = lockFile(ctx, p.lab.path("lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, provider.Errorf(provider.ErrIncorrectState, "", "lab %s was taken down",
			p.cfg.Name)
	}
	return unlock, err
}

func (p *Provider) ensureUp(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.up {
		if _, err := os.Stat(p.lab.path("lab.json")); err == nil {
			return nil
		}
		p.up = false
	}
	if err := p.bringUp(ctx); err != nil {
		return fmt.Errorf("cannot bring up lab %s: %w", p.cfg.Name, err)
	}
	p.up = true
	return nil
}

func (p *Provider) bringUp(ctx context.Context) error {
	if err := os.MkdirAll(p.lab.dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockFile(ctx, p.lab.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	record := labRecord{Name: p.cfg.Name, DevicePattern: p.cfg.DevicePattern,
		CreatedAt: p.cfg.Now()}
	err = readJSON(p.lab.path("lab.json"), &record)
	if errors.Is(err, fs.ErrNotExist) {
		err = p.claimDir(&record)
	}
	if err != nil {
		return err
	}
	if record.Name != p.cfg.Name {
		return provider.Errorf(provider.ErrInvalid, "", "%s is the directory of lab %s", p.lab.dir,
			record.Name)
	}
	if err := atomicfile.Tidy(p.lab.path("lab.json"), p.lab.path("records", machineKind, "*"),
		p.lab.path("records", volumeKind, "*"),
		p.lab.path("records", snapshotKind, "*")); err != nil {
		return err
	}
	if err := p.lab.ensureBridge(ctx, &record); err != nil {
		return err
	}
	if err := p.lab.ensurePool(ctx, p.cfg.PoolBytes); err != nil {
		return err
	}
	return p.lab.ensureFolders()
}

// claimDir makes the directory the lab's, which lets Sweep remove it later.
func (p *Provider) claimDir(record *labRecord) error {
	unclaimed, err := p.lab.unclaimed()
	if err != nil {
		return err
	}
	if !unclaimed {
		return provider.Errorf(provider.ErrInvalid, "",
			"%s is not empty and not a lab: choose another directory", p.lab.dir)
	}
	return writeJSON(p.lab.path("lab.json"), record)
}

// unclaimed says whether the directory is empty but for the lock and what a process leaves that is
// killed while it writes lab.json.
func (l lab) unclaimed() (bool, error) {
	entries, err := os.ReadDir(l.dir)
	for _, entry := range entries {
		if entry.Name() != "lock" && !strings.HasPrefix(entry.Name(), ".lab.json.") {
			return false, nil
		}
	}
	return true, err
}

func (l lab) ensureFolders() error {
	for _, dir := range []string{l.path("run"), l.pool("volumes"), l.pool("snapshots"),
		l.pool("machines"), l.pool("layers"),
		l.path("records", machineKind), l.path("records", volumeKind),
		l.path("records", snapshotKind)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// SetTags adds tags to a machine, volume or snapshot.
func (p *Provider) SetTags(ctx context.Context, id string, tags map[string]string) error {
	if err := provider.ValidateTags(tags); err != nil {
		return err
	}
	unlock, err := p.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	switch kindOf(id) {
	case machineKind:
		return setTags(p.lab, machineKind, id, tags,
			func(m *machineRecord) *map[string]string { return &m.Tags })
	case volumeKind:
		return setTags(p.lab, volumeKind, id, tags,
			func(v *volumeRecord) *map[string]string { return &v.Tags })
	case snapshotKind:
		return setTags(p.lab, snapshotKind, id, tags,
			func(s *snapshotRecord) *map[string]string { return &s.Tags })
	}
	return provider.Errorf(provider.ErrNotFound, "",
		"%.40q not found: that is not an ID of this provider", id)
}

func setTags[T any](l lab, kind, id string, tags map[string]string,
	field func(*T) *map[string]string) error {
	record, err := loadRecord[T](l, kind, id)
	if err != nil {
		return err
	}
	merged := map[string]string{}
	maps.Copy(merged, *field(record))
	maps.Copy(merged, tags)
	if err := provider.ValidateTags(merged); err != nil {
		return err
	}
	*field(record) = merged
	return saveRecord(l, kind, id, record)
}

func kindOf(id string) string {
	if !idPattern.MatchString(id) {
		return ""
	}
	switch id[0] {
	case 'i':
		return machineKind
	case 'v':
		return volumeKind
	}
	return snapshotKind
}

func (p *Provider) zone(asked string) (string, error) {
	if asked == "" {
		return p.cfg.Zones[0], nil
	}
	if !slices.Contains(p.cfg.Zones, asked) {
		return "", provider.Errorf(provider.ErrInvalid, "", "zone %.70q is none of %v", asked,
			p.cfg.Zones)
	}
	return asked, nil
}

func (p *Provider) imageNames() []string { return slices.Sorted(maps.Keys(p.specs)) }

// since says whether that much time has passed since a recorded time. A clock that was
// set back must not make things take for ever.
func (p *Provider) since(at time.Time, delay time.Duration) bool {
	passed := p.cfg.Now().Sub(at)
	return passed >= delay || passed < 0
}

func newID(prefix string) string { return prefix + "-" + randomHex(6) }

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// hashOf is what tells the parameters of two requests with one token apart.
func hashOf(params any) string {
	data, _ := json.Marshal(params) // plain structs of strings and numbers
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func tokenReused(token, id string) error {
	return provider.Errorf(provider.ErrTokenReused, id,
		"client token %s made %s with other parameters: use a new token", token, id)
}

func removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, atomicfile.SyncDir(filepath.Dir(path)))
}
