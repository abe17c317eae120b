//go:build lab

package faults

import (
	"slices"
	"strings"
	"testing"
)

// aboutVolumes says whether a row concerns volumes, snapshots or what is made at the provider:
// those run through EC2 too.
func (r *row) aboutVolumes() bool {
	return r.only == onEC2 ||
		slices.Contains(
			strings.Fields("F13 S1 S2 S3 S6 S7 H1 H3 H4 H5 H6 H7 H8 H9 H10 H15 C1 C2 C3 C4 C6 C9"),
			r.id)
}

// matrixOf are the rows that run on a provider.
func matrixOf(provider string) []row {
	return slices.DeleteFunc(matrix(), func(r row) bool {
		return r.only != "" && r.only != provider || provider == onEC2 && !r.aboutVolumes()
	})
}

// TestLongFaultsOnEC2 runs the rows that can be planted at EC2 alone: the quick ones, or all.
func TestLongFaultsOnEC2(t *testing.T) {
	if providerName() == onEC2 {
		t.Skip("TestFaults runs them")
	}
	runMatrix(t, onEC2, slices.DeleteFunc(chosen(matrix()),
		func(r row) bool { return r.only != onEC2 }))
}

func volumeRows() []row {
	return slices.Concat([]row{
		{
			id: "H3", variant: "nothing names the default volume", run: (*lab).neverNamed,
			planted: "the machine boots with the image's default data volume, mounted and in use",
			happens: "it is swapped for the snapshot's; no record, unit, fstab or mount has its " +
				"name at any time of the job, and it is deleted",
			why: "nothing is recorded from a volume that is waiting to be replaced",
		},
		{
			id: "H4", variant: "EC2 shows it attached 20 s before the host", only: onEC2,
			run:     func(l *lab) { l.faultyAttach(planned{Times: 1, Slow: 20}) },
			planted: "the volume is attached for EC2, its device appears on the host 20 s later",
			happens: "waited for; converges",
			why:     "what counts is that the host sees the device",
		},
		{
			id: "H5", variant: "a stranger's copy attached", only: onEC2, run: (*lab).strangersCopy,
			planted: "somebody attaches another volume made from the same snapshot to the " +
				"machine: one UUID, one label",
			happens: "the right one is mounted, under a UUID of its own; the stranger's is " +
				"neither written to nor taken away",
			why: "volumes are found by their serial, never by UUID, and by their tags",
		},
	}, attachRows(), creatingRows(), storedRows())
}

func attachRows() []row {
	return []row{
		{
			id: "E1", variant: "attached and the answer lost", only: onEC2, quick: true,
			run:     func(l *lab) { l.faultyAttach(planned{Times: 1, LoseAnswer: true}) },
			planted: "AttachVolume has its effect, its answer is lost",
			happens: "the volume is found attached; converges",
			why: "AttachVolume takes no token: its effect is looked for before it is called " +
				"again",
		},
		{
			id: "E2", variant: "device name taken", only: onEC2, quick: true, run: func(l *lab) {
				l.faultyAttach(planned{Times: 2, Refuse: "InvalidParameterValue",
					Message: "Invalid value '/dev/sdf' for unixDevice. Attachment point /dev/sdf " +
						"is already in use"})
			},
			planted: "the device names that look free are taken by others a moment before",
			happens: "the next free one is tried; converges",
			why:     "the host finds the volume by its serial, so any name will do",
		},
		{
			id: "E3", variant: "attach refused with IncorrectState", only: onEC2,
			run: func(l *lab) {
				l.faultyAttach(planned{Times: 3, Refuse: "IncorrectState",
					Message: "Volume is not 'available'."})
			},
			planted: "AttachVolume is refused three times, for a state that describes no longer " +
				"show",
			happens: "tried again; converges",
			why:     "EC2's states become true at different times",
		},
		{
			id: "E3", variant: "attach refused with VolumeInUse", only: onEC2, run: func(l *lab) {
				l.faultyAttach(planned{Times: 2, Refuse: "VolumeInUse",
					Message: "the volume is already attached to an instance"})
			},
			planted: "AttachVolume says twice that the volume is in use",
			happens: "looked at anew: it is not; converges",
			why:     "the answer may be about a moment that has passed",
		},
	}
}

func creatingRows() []row {
	return []row{
		{
			id: "E4", variant: "volume creating for 15 s", only: onEC2,
			run: func(l *lab) {
				l.faulty("swap_volume",
					planned{Action: "CreateVolume", Times: 1, Slow: 15})
			},
			planted: "the copy's volume is creating for 15 s",
			happens: "waited for; converges",
			why:     "volumes are attached once they are available",
		},
		{
			id: "E4", variant: "volume creating for ever", only: onEC2, run: (*lab).creatingForEver,
			planted: "the copy's volume stays creating",
			happens: "refuses in time, naming the volume; redo makes another one and converges",
			why: "a volume that hangs in creation does so for good; nobody waits for it for " +
				"ever",
		},
		{
			id: "E4", variant: "volume ends in error", only: onEC2, run: (*lab).createdInError,
			planted: "the copy's volume ends in the state error",
			happens: "refuses with EC2's word; redo makes another one and converges",
			why: "EC2 ends so when it cannot use the encryption key, which a person has to " +
				"see to",
		},
		{
			id: "E5", variant: "no more volumes allowed", only: onEC2, run: (*lab).limitReached,
			planted: "CreateVolume is refused with VolumeLimitExceeded",
			happens: "refuses with QUOTA_EXCEEDED and the hint; cleanup takes the machine away",
			why:     "trying again does not help",
		},
	}
}

func storedRows() []row {
	return []row{
		{
			id: "S6", variant: "pending for 20 s", only: onEC2, run: (*lab).snapshotPending,
			planted: "the snapshot is pending for 20 s, and a replica is asked from it meanwhile",
			happens: "the replica is refused; the snapshot's job waits with its progress and " +
				"converges",
			why: "a replica is made from a snapshot that is READY",
		},
		{
			id: "S6", variant: "ends in error", only: onEC2, run: (*lab).snapshotFails,
			planted: "the snapshot ends in the state error",
			happens: "its job refuses with EC2's word; no replica can be asked from it; cleanup " +
				"takes it away",
			why: "a snapshot that is not complete is none",
		},
		{
			id: "S6", variant: "deleted by hand", only: onEC2, run: (*lab).snapshotDeleted,
			planted: "somebody deletes the snapshot at EC2",
			happens: "the plan refuses; no machine is made",
			why:     "the plan looks at the provider, not at the record alone",
		},
		{
			id: "S6", variant: "replica in another zone", only: onEC2, run: (*lab).otherZone,
			planted: "the replica is asked for in another zone than the snapshot's",
			happens: "converges: the volume is made in the machine's zone",
			why: "EC2 keeps snapshots in a region; a provider that keeps them in a zone has " +
				"its plan refuse this",
		},
		{
			id: "S7", variant: "throttled for 20 s", only: onEC2, run: (*lab).throttled,
			planted: "EC2 refuses every call with RequestLimitExceeded for 20 s, from the moment " +
				"that the volume is to be made",
			happens: "waited, with that reason shown; converges",
			why:     "being throttled is no failure",
		},
		{
			id: "S7", variant: "throttled at the cut", only: onEC2, run: (*lab).throttledCut,
			planted: "EC2 refuses every call with RequestLimitExceeded while commits are blocked",
			happens: "the primary is let go within the limit; once EC2 answers, the job takes a " +
				"quiesces again",
			why: "the primary does not wait for EC2's patience",
		},
		{
			id: "C9", variant: "terminated before swap_volume", only: onEC2,
			run:     func(l *lab) { l.terminatedAt("swap_volume") },
			planted: "somebody terminates the instance before its volume is swapped",
			happens: "refuses with MACHINE_GONE; cleanup works",
			why:     "no wait for an agent that cannot come",
		},
		{
			id: "C9", variant: "terminated before start_mariadb", only: onEC2,
			run:     func(l *lab) { l.terminatedAt("start_mariadb") },
			planted: "somebody terminates the instance when the copy is mounted",
			happens: "refuses with MACHINE_GONE; cleanup works",
			why:     "the same in every step",
		},
	}
}
