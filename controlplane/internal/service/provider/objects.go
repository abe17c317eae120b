package provider

import (
	"context"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func cmpText(a, b string) int { return strings.Compare(a, b) }

// ListObjects returns a page of machines, volumes and snapshots with their tags.
func (s *Service) ListObjects(ctx context.Context,
	req *cpv1.ListObjectsRequest) (*cpv1.ListObjectsResponse, error) {
	page := wire.PageOf(req.GetPageSize(), req.GetPageToken())
	all, err := s.objects(ctx)
	if err != nil {
		return nil, err
	}
	all, next, err := wire.Cut(page, all, "objects", sortKey)
	if err != nil {
		return nil, err
	}
	return &cpv1.ListObjectsResponse{Objects: all, NextPageToken: next}, nil
}

func sortKey(o *cpv1.ProviderObject) string { return enum.Word(o.GetKind()) + " " + o.GetId() }

// objects are all that the provider has and that is not gone, by kind and id.
func (s *Service) objects(ctx context.Context) ([]*cpv1.ProviderObject, error) {
	owners, err := s.cfg.Owners.Owners(ctx)
	if err != nil {
		return nil, err
	}
	machines, err := s.cfg.Cloud.ListMachines(ctx, provider.Filter{})
	if err != nil {
		return nil, err
	}
	volumes, err := s.cfg.Cloud.ListVolumes(ctx, provider.Filter{})
	if err != nil {
		return nil, err
	}
	snapshots, err := s.cfg.Cloud.ListSnapshots(ctx, provider.Filter{})
	if err != nil {
		return nil, err
	}
	var all []*cpv1.ProviderObject
	for _, m := range machines {
		if m.State != provider.MachineTerminated {
			all = append(all, ofMachine(m, owners))
		}
	}
	for _, v := range volumes {
		if v.State != provider.VolumeDeleted {
			all = append(all, ofVolume(v, owners))
		}
	}
	for _, snap := range snapshots {
		all = append(all, ofSnapshot(snap, owners))
	}
	slices.SortFunc(all,
		func(a, b *cpv1.ProviderObject) int { return cmpText(sortKey(a), sortKey(b)) })
	return all, nil
}

func ofMachine(m provider.Machine, owners map[string]string) *cpv1.ProviderObject {
	return &cpv1.ProviderObject{
		Kind: cpv1.ProviderObject_KIND_MACHINE, Id: m.ID, State: string(m.State), Tags: m.Tags,
		Address:    m.Address,
		CreateTime: wire.Time(m.CreatedAt), Owner: owners[m.ID],
	}
}

// ofVolume gives an image's own volume to the server whose machine it came with.
func ofVolume(v provider.Volume, owners map[string]string) *cpv1.ProviderObject {
	owner := owners[v.ID]
	if owner == "" && v.Default {
		owner = owners[v.MachineID]
	}
	return &cpv1.ProviderObject{
		Kind: cpv1.ProviderObject_KIND_VOLUME, Id: v.ID, State: string(v.State), Tags: v.Tags,
		SizeBytes: v.SizeBytes, Machine: v.MachineID,
		CreateTime: wire.Time(v.CreatedAt), Owner: owner,
	}
}

func ofSnapshot(s provider.Snapshot, owners map[string]string) *cpv1.ProviderObject {
	return &cpv1.ProviderObject{
		Kind: cpv1.ProviderObject_KIND_SNAPSHOT, Id: s.ID, State: string(s.State), Tags: s.Tags,
		SizeBytes:  s.SizeBytes,
		CreateTime: wire.Time(s.CreatedAt), Owner: owners[s.ID],
	}
}
