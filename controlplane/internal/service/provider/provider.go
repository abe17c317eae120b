// Package provider serves ProviderService: it shows what the provider of machines and volumes has,
// and takes people's word where people are the provider.
package provider

import (
	"context"
	"errors"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Cloud is what is shown of a provider.
type Cloud interface {
	// Name is the provider's kind.
	Name() string
	// Images lists what machines can be made from, the one that is taken when none is named first.
	Images(ctx context.Context) ([]provider.Image, error)
	// ListMachines lists machines.
	ListMachines(ctx context.Context, filter provider.Filter) ([]provider.Machine, error)
	// ListVolumes lists volumes.
	ListVolumes(ctx context.Context, filter provider.Filter) ([]provider.Volume, error)
	// ListSnapshots lists snapshots.
	ListSnapshots(ctx context.Context, filter provider.Filter) ([]provider.Snapshot, error)
}

// Checker tries what the jobs need.
type Checker interface {
	// Problems are what is missing and what to do about it, one line each; none when all is well.
	Problems(ctx context.Context) ([]string, error)
}

// Owners knows which record names an object of the provider.
type Owners interface {
	// Owners are the names of resources ("servers/db1") by the provider's id of machine, volume or
	// snapshot.
	Owners(ctx context.Context) (map[string]string, error)
}

// Config is what the service needs; all of it is required.
type Config struct {
	Cloud   Cloud
	Checker Checker
	Owners  Owners
	Sweeper Sweeper
	Audit   Audit
}

// Service is ProviderService.
type Service struct {
	cpv1.UnimplementedProviderServiceServer
	cfg Config
}

// New makes the service.
func New(cfg Config) (*Service, error) {
	if cfg.Cloud == nil || cfg.Checker == nil || cfg.Owners == nil || cfg.Sweeper == nil ||
		cfg.Audit == nil {
		return nil, errors.New("cannot make the provider service: cloud, checker, owners, " +
			"sweeper and audit are needed")
	}
	return &Service{cfg: cfg}, nil
}

// Rules says who may call what.
func Rules() authz.Table {
	reads, changes := authz.Readers(), authz.Changers()
	return authz.Table{
		cpv1.ProviderService_CheckProvider_FullMethodName: reads,
		cpv1.ProviderService_ListImages_FullMethodName:    reads,
		cpv1.ProviderService_ListObjects_FullMethodName:   reads,
		cpv1.ProviderService_SweepProvider_FullMethodName: changes,
		cpv1.ProviderService_ListTasks_FullMethodName:     reads,
		cpv1.ProviderService_CompleteTask_FullMethodName:  changes,
		cpv1.ProviderService_RefuseTask_FullMethodName:    changes,
	}
}

// CheckProvider tries what the jobs need and says what is missing.
func (s *Service) CheckProvider(ctx context.Context,
	_ *cpv1.CheckProviderRequest) (*cpv1.CheckProviderResponse, error) {
	problems, err := s.cfg.Checker.Problems(ctx)
	if err != nil {
		return nil, err
	}
	return &cpv1.CheckProviderResponse{Provider: s.cfg.Cloud.Name(), Problems: problems}, nil
}

// ListImages returns a page of the images, sorted by name.
func (s *Service) ListImages(ctx context.Context,
	req *cpv1.ListImagesRequest) (*cpv1.ListImagesResponse, error) {
	page := wire.PageOf(req.GetPageSize(), req.GetPageToken())
	images, err := s.cfg.Cloud.Images(ctx)
	if err != nil {
		return nil, err
	}
	all := toImages(images)
	all, next, err := wire.Cut(page, all, "images", (*cpv1.Image).GetName)
	if err != nil {
		return nil, err
	}
	return &cpv1.ListImagesResponse{Images: all, NextPageToken: next}, nil
}

// toImages marks the first image that is ready as the default.
func toImages(images []provider.Image) []*cpv1.Image {
	var all []*cpv1.Image
	chosen := false
	for _, i := range images {
		out := &cpv1.Image{Name: i.Name, Description: i.Description}
		if i.Ready && !chosen {
			out.IsDefault, chosen = true, true
		}
		if !i.Ready {
			out.Description += " (not built yet)"
		}
		all = append(all, out)
	}
	slices.SortFunc(all, func(a, b *cpv1.Image) int { return cmpText(a.GetName(), b.GetName()) })
	return all
}
