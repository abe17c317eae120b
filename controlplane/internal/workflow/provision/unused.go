package provision

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// checkUnused refuses a host whose databases would be stopped, or hidden by a mount. What is on the
// server's own volume is its own, what is on the image's default one goes with that.
func (s *step) checkUnused(ctx context.Context, srv inventory.Server, host kit.HostInfo) error {
	inTheWay := slices.DeleteFunc(slices.Clone(host.Databases), harmless)
	if len(inTheWay) == 0 {
		return nil
	}
	attached, err := s.Provider.ListVolumes(ctx, provider.Filter{MachineID: srv.MachineID})
	if err != nil {
		return err
	}
	for _, p := range inTheWay {
		ours := slices.ContainsFunc(attached, func(v provider.Volume) bool {
			return (v.Default || v.Tags[kit.TagServer] == srv.Name) &&
				kit.Overlap(p.DeviceIDs, s.Provider.DeviceNames(v.ID))
		})
		if ours {
			continue
		}
		return kit.Refuse(errorsv1.Reason_REASON_MOUNT_POINT_NOT_EMPTY,
			kit.Hint("use a host without databases: nothing was changed on this one"),
			"the host of %s serves databases already: process %d of %s has %s in %s", srv.Name,
			p.PID, cmp.Or(p.Unit, "no unit"), kit.SomeOf(p.Databases, 5), p.Datadir)
	}
	return nil
}

// harmless is a process that this job leaves alone: another unit's with a datadir of its own, and
// one without users' databases.
func harmless(p kit.DatabaseProcess) bool {
	if len(p.Databases) == 0 {
		return true
	}
	for _, path := range []string{kit.DataMount, kit.DatadirPath} {
		if p.Datadir == path || strings.HasPrefix(p.Datadir, path+"/") {
			return false
		}
	}
	return p.Unit != kit.MariaDBUnit
}
