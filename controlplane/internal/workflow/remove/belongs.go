package remove

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// belongs is how the machines and volumes to remove are found: by the server's name and the job
// that made it.
func (s *server) belongs() provider.Filter {
	return s.Made(map[string]string{kit.TagServer: s.name, kit.TagJob: s.maker})
}

// taken are the machine and the volumes that another job has on record for the server of that name.
// The provider may not know yet that it took them over.
func (s *server) taken(ctx context.Context) (map[string]bool, error) {
	ids := map[string]bool{}
	err := s.Store.Read(ctx, func(ctx context.Context, rec kit.Records) error {
		srv, err := rec.Servers.Get(ctx, s.name)
		if kit.Missing(err) || err == nil && s.ours(srv) {
			return nil
		}
		if err != nil {
			return err
		}
		ids[srv.MachineID] = true
		volumes, err := rec.Volumes.OfServer(ctx, s.name)
		for _, v := range volumes {
			if v.Job != s.maker && v.State != inventory.VolumeDeleted {
				ids[v.ProviderID] = true
			}
		}
		return err
	})
	return ids, err
}
