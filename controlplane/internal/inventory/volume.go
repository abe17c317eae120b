package inventory

import "time"

// VolumeState is how a volume is.
type VolumeState string

// The states of a volume.
const (
	// VolumeAvailable is a volume attached to no machine.
	VolumeAvailable VolumeState = "AVAILABLE"
	// VolumeAttached is a volume attached to one machine.
	VolumeAttached VolumeState = "ATTACHED"
	// VolumeDeleting is a volume that is being deleted.
	VolumeDeleting VolumeState = "DELETING"
	// VolumeDeleted is a volume that is gone.
	VolumeDeleted VolumeState = "DELETED"
)

// Volume is the record of a block device of a provider.
type Volume struct {
	ID         string // our id
	Provider   string
	ProviderID string // the provider's id; unique with Provider
	SizeBytes  int64
	Zone       string
	MachineID  string // machine it is attached to; empty for none
	Server     string // server it belongs to; empty for none
	// Snapshot is the id of the snapshot it was made from; empty says that it was made blank. Only
	// a volume that was made blank, and probes blank, may ever be formatted.
	Snapshot string
	// ImageDefault says that it came with the image and awaits replacement: nothing is recorded
	// from it.
	ImageDefault bool
	// SnapshotTried is when the provider was last asked to begin a snapshot of it, for a provider
	// that limits how often; zero: not known.
	SnapshotTried time.Time
	State         VolumeState
	Job           string // job that made it
	EffectKey     string // under which it was made; its tag at the provider
	Created       time.Time
	Updated       time.Time
	Rev           int64
}

// Blank reports whether the record says that nothing was ever on the volume.
func (v Volume) Blank() bool { return v.Snapshot == "" && !v.ImageDefault }

// Etag identifies this state of the record in requests that rely on it.
func (v Volume) Etag() string { return etag(v.Rev) }
