// Package provider says what the control plane needs from whoever owns machines,
// volumes and snapshots. Its shape is EC2's: requests return before their effect is
// complete, states are read until they settle, a client token makes a creation
// repeatable, tags find again what was made, and a snapshot is the volume's content at
// the point in time when the call returned.
//
// Implementations live in folders below and must pass providertest.Run.
package provider

import (
	"context"
	"time"
)

// Provider is everything that an implementation offers.
type Provider interface {
	Machines
	Volumes
	Snapshots

	// Name is the provider's kind, such as "nspawn".
	Name() string
	// Check says whether the provider can work here. The error lists everything that
	// is missing together with what to do about it; it changes nothing.
	Check(ctx context.Context) error
	// Images lists what machines can be made from, by name.
	Images(ctx context.Context) ([]Image, error)
	// SetTags adds the tags to a machine, volume or snapshot, replacing values of
	// keys that are there. ErrNotFound, ErrInvalid.
	SetTags(ctx context.Context, id string, tags map[string]string) error
}

// Sealer is a provider whose machines can still read their join file from somewhere after their
// agent has enrolled.
type Sealer interface {
	// SealMachine ends that; no-op when it is done. ErrNotFound.
	SealMachine(ctx context.Context, id string) error
}

// Late is a provider that may show late what it has made.
type Late interface {
	// ShowsWithin is how long that may take: what is not found by then is gone.
	ShowsWithin() time.Duration
}

// Regional is a provider whose snapshots can be copied into any of its zones, not into the zone of
// their volume alone.
type Regional interface {
	// SnapshotsInEveryZone says that they can.
	SnapshotsInEveryZone() bool
}
