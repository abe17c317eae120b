package inventory

import "time"

// VerifyLevel is how the data of a replica was compared with its primary's. Each level includes the
// ones before it.
type VerifyLevel string

// The levels.
const (
	// VerifyPosition means that the replica has applied a position that was taken on its primary.
	VerifyPosition VerifyLevel = "POSITION"
	// VerifySample means that the checksums of a sample of the tables are equal.
	VerifySample VerifyLevel = "SAMPLE"
	// VerifyFull means that the checksums of all tables are equal.
	VerifyFull VerifyLevel = "FULL"
)

// Verification is a comparison of a replica with its primary that found no difference. The zero
// value means that there was none.
type Verification struct {
	Level VerifyLevel
	GTID  string    // position up to which both were compared
	Began time.Time `json:",omitzero"` // when the comparison began
	Time  time.Time // when it ended
	// Open is how many tables and objects could not be compared.
	Open int `json:",omitempty"`
}
