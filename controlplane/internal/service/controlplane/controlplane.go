// Package controlplane serves ControlPlaneService: the version of the control plane.
package controlplane

import (
	"context"
	"runtime"

	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Service is ControlPlaneService.
type Service struct {
	controlplanev1.UnimplementedControlPlaneServiceServer

	// Version is the program's.
	Version string
}

// Rules says who may call what.
func Rules() authz.Table {
	return authz.Table{
		controlplanev1.ControlPlaneService_GetVersion_FullMethodName: authz.Readers(
			identity.RoleBreakGlass),
	}
}

// GetVersion returns the version of the control plane.
func (s *Service) GetVersion(context.Context,
	*controlplanev1.GetVersionRequest) (*controlplanev1.GetVersionResponse, error) {
	return &controlplanev1.GetVersionResponse{Version: s.Version, GoVersion: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH}, nil
}
