package systemd

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	domain "github.com/understudy-db/understudy/agent/internal/systemd"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

func toUnit(u domain.Unit) *agentv1.Unit {
	unit := &agentv1.Unit{
		Name: u.Name, Description: clean(u.Description), ActiveState: toActiveState(u.Active),
		SubState: u.Sub, LoadState: u.Load,
		UnitFileState: u.FileState, FragmentPath: u.Fragment, DropInPaths: u.DropIns,
		InvocationId: u.InvocationID, Result: u.Result,
		MainPid: int32(u.MainPID), ExitStatus: int32(u.ExitStatus), MemoryBytes: u.MemoryBytes,
		Restarts: int32(u.Restarts), StatusText: clean(u.StatusText),
	}
	if !u.ActiveSince.IsZero() {
		unit.ActiveTime = timestamppb.New(u.ActiveSince)
	}
	return unit
}

func toActiveState(state string) agentv1.Unit_ActiveState {
	switch state {
	case "active":
		return agentv1.Unit_ACTIVE_STATE_ACTIVE
	case "reloading", "refreshing":
		return agentv1.Unit_ACTIVE_STATE_RELOADING
	case "inactive":
		return agentv1.Unit_ACTIVE_STATE_INACTIVE
	case "failed":
		return agentv1.Unit_ACTIVE_STATE_FAILED
	case "activating":
		return agentv1.Unit_ACTIVE_STATE_ACTIVATING
	case "deactivating", "maintenance":
		return agentv1.Unit_ACTIVE_STATE_DEACTIVATING
	}
	return agentv1.Unit_ACTIVE_STATE_UNSPECIFIED
}

func toEntry(e domain.Entry) *agentv1.JournalEntry {
	return &agentv1.JournalEntry{Time: timestamppb.New(e.Time), Identifier: clean(e.Identifier),
		Priority: int32(e.Priority),
		Message:  clean(e.Message), Cursor: e.Cursor}
}
