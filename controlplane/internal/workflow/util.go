package workflow

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

func or[V comparable](v, fallback V) V {
	var zero V
	if v == zero {
		return fallback
	}
	return v
}

// shortVersion is a server's version without its build's suffix.
func shortVersion(version string) string {
	short, _, _ := strings.Cut(version, "-")
	return short
}

// someOf lists the first few of many.
func someOf(all []string, most int) string {
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}

func (s *step) recordReservation(id string, until time.Time) commit {
	return func(ctx context.Context, rec Records) error {
		snap, err := rec.Snapshots().Get(ctx, s.args.Snapshot)
		if err != nil {
			return err
		}
		snap.Reservation, snap.ReservedTo = id, until
		return rec.Snapshots().Update(ctx, &snap)
	}
}

// proved reports whether a snapshot's cut was proved to have been made within its hold: that is
// when its id is recorded.
func proved(snap inventory.Snapshot) bool { return snap.ProviderID != "" }
