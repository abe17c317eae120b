package job

import (
	"context"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// WatchJob sends the job at once and whenever it changes, and ends with the job.
func (s *Service) WatchJob(req *cpv1.WatchJobRequest,
	stream grpc.ServerStreamingServer[cpv1.WatchJobResponse]) error {
	id := wire.ID(req.GetName())
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	changes, err := s.cfg.Engine.Watch(ctx, id)
	if err != nil {
		return err
	}
	for {
		select {
		case <-chassis.Draining(ctx):
			return errs.New(errs.Unavailable, errorsv1.Reason_REASON_CANCELED,
				"the control plane is being stopped",
				errs.WithHint("watch again: the job goes on when a control plane runs"))
		case j, ok := <-changes:
			if !ok {
				return ctx.Err()
			}
			if err := stream.Send(&cpv1.WatchJobResponse{Job: wire.Job(j,
				s.cfg.Now())}); err != nil {
				return err
			}
			if j.State.Ended() {
				return nil
			}
		}
	}
}
