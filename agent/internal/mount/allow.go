package mount

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// allowList are shell patterns: of paths that may be mounted on and unmounted, and of names below
// /dev/disk/by-id that may be mounted or formatted.
type allowList struct{ mountPoints, deviceIDs []string }

// checkPath refuses what is no clean absolute path (InvalidArgument) and a path that is not on the
// allow-list (PermissionDenied).
func (a allowList) checkPath(path string) error {
	if err := checkCleanPath("path", path); err != nil {
		return err
	}
	if a.has(path) {
		return nil
	}
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
		fmt.Sprintf("cannot use mount point %s: it is not on the host's allow-list", path),
		errs.WithHint("add it to `mount_points` in /etc/understudy-agent/agent.yaml on the host, "+
			"then restart understudy-agent"), errs.Meta("path", path))
}

func (a allowList) has(path string) bool { return matchesAny(a.mountPoints, path) }

func checkCleanPath(field, path string) error {
	var why string
	switch {
	case !strings.HasPrefix(path, "/"):
		why = "must be an absolute path"
	case path != filepath.Clean(path) || path == "/":
		why = "must be a clean path other than /"
	case len(path) > 512:
		why = "is too long"
	case !regexp.MustCompile(`^[A-Za-z0-9/._@:+-]+$`).MatchString(path):
		// Nothing that a unit file, fstab or a tool could read as something else than a path.
		why = "may have letters, digits and /._@:+- alone"
	default:
		return nil
	}
	return invalid(field, fmt.Sprintf("%.200q %s", path, why), why)
}

// checkDeviceIDs refuses what is no name below /dev/disk/by-id (InvalidArgument),
// and names that are not on the allow-list (PermissionDenied).
func (a allowList) checkDeviceIDs(field string, ids []string) error {
	for _, id := range ids {
		if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+=@-]{0,254}$`).MatchString(id) ||
			strings.Contains(id, "..") {
			return invalid(field, fmt.Sprintf("%.200q is no name below /dev/disk/by-id", id),
				"must be names without a directory")
		}
		if !matchesAny(a.deviceIDs, id) {
			return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
				fmt.Sprintf("cannot use device %s: it is not on the host's allow-list", id),
				errs.Meta("device", id),
				errs.WithHint("add it to `device_ids` in /etc/understudy-agent/agent.yaml on the "+
					"host, then restart understudy-agent"))
		}
	}
	return nil
}

func matchesAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if ok, err := filepath.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}

func invalid(field, message, why string) error {
	return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD, message,
		errs.Field(field, why))
}

func refuse(reason errorsv1.Reason, message string, options ...errs.Option) error {
	return errs.New(errs.FailedPrecondition, reason, message, options...)
}
