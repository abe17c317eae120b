package mariadb

import (
	"context"
	"fmt"
)

// What is in the agent's option file is for the managed unit alone. An option group with a suffix
// is read only where the suffix is asked for; the unit asks for it by a variable, so that its
// command line stays the user's.
const (
	suffixVariable = "MYSQL_GROUP_SUFFIX"
	groupSuffix    = ".understudy"
	group          = "[mariadbd" + groupSuffix + "]"
	unitDropIn     = "understudy-options.conf"
)

// HeldDown is there while MariaDB is stopped for a snapshot. A reboot removes it.
const HeldDown = "/run/understudy-mariadb-held"

// UnitFiles are the files of units; *systemd.Files is one.
type UnitFiles interface {
	// SetOwnDropIn makes the unit have a drop-in of the agent's.
	SetOwnDropIn(ctx context.Context, unit, dropIn, content string) error
	// Words are the words of the unit's command and of its environment.
	Words(ctx context.Context, unit string) ([]string, error)
}

// readByUnit makes the managed unit read the group, from its next start on, and refuse to start on
// a filesystem that is frozen for a snapshot: it would hang.
func readByUnit(ctx context.Context, units UnitFiles) error {
	if units == nil {
		return nil
	}
	return units.SetOwnDropIn(ctx, Unit, unitDropIn, fmt.Sprintf("[Unit]\nAssertPathExists=!%s\n"+
		"[Service]\nEnvironment=%s=%s\n", HeldDown, suffixVariable, groupSuffix))
}
