package mariadb

import "context"

// What is in the agent's option file is for the managed unit alone. An option group with a suffix
// is read only where the suffix is asked for; the unit asks for it by a variable, so that its
// command line stays the user's.
const (
	suffixVariable = "MYSQL_GROUP_SUFFIX"
	groupSuffix    = ".understudy"
	group          = "[mariadbd" + groupSuffix + "]"
	unitDropIn     = "understudy-options.conf"
)

// UnitFiles are the files of units; *systemd.Files is one.
type UnitFiles interface {
	// SetEnvironment makes a drop-in set a variable of the unit.
	SetEnvironment(ctx context.Context, unit, dropIn, variable, value string) error
	// Words are the words of the unit's command and of its environment.
	Words(ctx context.Context, unit string) ([]string, error)
}

// readByUnit makes the managed unit read the group, from its next start on.
func readByUnit(ctx context.Context, units UnitFiles) error {
	if units == nil {
		return nil
	}
	return units.SetEnvironment(ctx, Unit, unitDropIn, suffixVariable, groupSuffix)
}
