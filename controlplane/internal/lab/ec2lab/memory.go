package ec2lab

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Lab is what the endpoint stands in front of: real hosts of nspawn.Provider, or Memory.
type Lab interface {
	provider.Machines
	provider.Volumes
	provider.Snapshots
	// Images lists what machines can be made from.
	Images(ctx context.Context) ([]provider.Image, error)
	// SetTags adds tags to a machine, volume or snapshot. ErrNotFound.
	SetTags(ctx context.Context, id string, tags map[string]string) error
}

// Memory is a lab without hosts, for tests of whoever calls the endpoint. What is asked of it is
// done at once, but for snapshots.
type Memory struct {
	// Now is the clock; default time.Now.
	Now func() time.Time
	// SnapshotTime is how long a snapshot is pending.
	SnapshotTime time.Duration

	mu        sync.Mutex
	made      int
	images    []provider.Image
	machines  map[string]*provider.Machine
	volumes   map[string]*provider.Volume
	snapshots map[string]*provider.Snapshot
	tokens    map[string]string
}

var _ Lab = (*Memory)(nil)

// NewMemory makes a lab with these images.
func NewMemory(images ...provider.Image) *Memory {
	return &Memory{Now: time.Now, images: images, machines: map[string]*provider.Machine{},
		volumes: map[string]*provider.Volume{}, snapshots: map[string]*provider.Snapshot{},
		tokens: map[string]string{}}
}

func (m *Memory) id(kind string) string {
	m.made++
	return fmt.Sprintf("%s-%012x", kind, m.made)
}

// known finds one of a kind.
func known[T any](all map[string]*T, id string) (*T, error) {
	if found, ok := all[id]; ok {
		return found, nil
	}
	return nil, provider.Errorf(provider.ErrNotFound, id, "there is no %s", id)
}

// oldestFirst copies what the filter lets through; numbers of IDs grow with time.
func oldestFirst[T any](all map[string]*T, pass func(*T) bool) []T {
	var list []T
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if pass(all[id]) {
			list = append(list, *all[id])
		}
	}
	return list
}

// Images implements Lab.
func (m *Memory) Images(context.Context) ([]provider.Image, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.images), nil
}

// SetTags implements Lab.
func (m *Memory) SetTags(_ context.Context, id string, tags map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var had *map[string]string
	switch kind, _, _ := strings.Cut(id, "-"); {
	case kind == "i" && m.machines[id] != nil:
		had = &m.machines[id].Tags
	case kind == "vol" && m.volumes[id] != nil:
		had = &m.volumes[id].Tags
	case kind == "snap" && m.snapshots[id] != nil:
		had = &m.snapshots[id].Tags
	default:
		return provider.Errorf(provider.ErrNotFound, id, "there is no %s", id)
	}
	*had = maps.Clone(*had)
	if *had == nil {
		*had = map[string]string{}
	}
	maps.Copy(*had, tags)
	return nil
}

// CreateSnapshot implements Lab.
func (m *Memory) CreateSnapshot(_ context.Context,
	req provider.CreateSnapshotRequest) (provider.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := known(m.volumes, req.VolumeID)
	if err != nil {
		return provider.Snapshot{}, err
	}
	s := &provider.Snapshot{ID: m.id("snap"), VolumeID: v.ID, SizeBytes: v.SizeBytes,
		Tags: maps.Clone(req.Tags), CreatedAt: m.Now()}
	m.snapshots[s.ID] = s
	return m.settled(*s), nil
}

// settled is a snapshot as it is by now.
func (m *Memory) settled(s provider.Snapshot) provider.Snapshot {
	s.State = provider.SnapshotPending
	if m.Now().Sub(s.CreatedAt) >= m.SnapshotTime {
		s.State, s.Progress = provider.SnapshotCompleted, 100
	}
	return s
}

// GetSnapshot implements Lab.
func (m *Memory) GetSnapshot(_ context.Context, id string) (provider.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := known(m.snapshots, id)
	if err != nil {
		return provider.Snapshot{}, err
	}
	return m.settled(*s), nil
}

// ListSnapshots implements Lab.
func (m *Memory) ListSnapshots(_ context.Context, f provider.Filter) ([]provider.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := oldestFirst(m.snapshots, func(s *provider.Snapshot) bool { return f.Matches(s.Tags) })
	for i := range list {
		list[i] = m.settled(list[i])
	}
	return list, nil
}

// DeleteSnapshot implements Lab.
func (m *Memory) DeleteSnapshot(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := known(m.snapshots, id)
	delete(m.snapshots, id)
	return err
}
