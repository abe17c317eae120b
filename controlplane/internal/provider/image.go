package provider

// Image is what a machine is made from.
type Image struct {
	// Name is how CreateMachine asks for it.
	Name string
	// Description is one line for operators.
	Description string
	// MariaDBVersion is the version installed in it, or its series when the image is
	// not made yet.
	MariaDBVersion string
	// MaskedUnits are the systemd units that the image has masked.
	MaskedUnits []string
	// DefaultVolume is the data volume that each machine of this image is made with;
	// nil when there is none.
	DefaultVolume *DefaultVolume
	// Ready says that machines can be made from it now.
	Ready bool
	// Problem says in words why no machine is made from it, and what to do; empty when one is.
	Problem string
}

// DefaultVolume is a data volume that belongs to an image.
type DefaultVolume struct {
	// SizeBytes is its size.
	SizeBytes int64
	// Filesystem is what it is formatted with: ext4 or xfs.
	Filesystem string
}
