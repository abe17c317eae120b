package systemd

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A unit name: systemd's own alphabet with a suffix that it knows; no leading dash or dot, so that
// it is never an option or a path.
const namePattern = `^[A-Za-z0-9_:][A-Za-z0-9_:.@\\-]{0,200}` +
	`\.(service|socket|mount|timer|target|path|slice|device|swap|automount|scope)$`

// CheckName refuses what is not a unit name with INVALID_ARGUMENT.
func CheckName(name string) error {
	if matched, err := regexp.MatchString(namePattern, name); err == nil && matched &&
		!strings.Contains(name, "..") {
		return nil
	}
	return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
		fmt.Sprintf("%.100q is not a unit name", name),
		errs.Field("unit", "must be a unit name with its suffix"),
		errs.WithHint(`give it with its suffix, for example "mariadb.service"`))
}

// MountUnit is the name of the mount unit for a mount point: "srv-mariadb.mount" for
// "/srv/mariadb".
func MountUnit(path string) string { return unit.UnitNamePathEscape(path) + ".mount" }
