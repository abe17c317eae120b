package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func down(cause error) error {
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_SYSTEMD_DOWN,
		"systemd does not answer", errs.Wrap(cause),
		errs.Retry(time.Second),
		errs.WithHint("find out on the host why (systemctl status dbus)"))
}

// wrap gives an error of D-Bus its kind.
func wrap(what, unit string, err error) error {
	message := strings.TrimSpace(what + " " + unit)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", message, err)
	}
	var dbusErr godbus.Error
	if !errors.As(err, &dbusErr) {
		return down(fmt.Errorf("%s: %w", message, err))
	}
	kind, reason, hint := meaning(dbusErr.Name, unit)
	return errs.New(kind, reason, message, errs.Wrap(err), errs.WithHint(hint),
		errs.Meta("unit", unit))
}

func meaning(name, unit string) (errs.Kind, errorsv1.Reason, string) {
	switch name {
	case "org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.DBus.Error.FileNotFound":
		return errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND,
			"check the unit's name, or install its package"
	case "System.Error.ENOSPC", "System.Error.EDQUOT":
		return errs.FailedPrecondition, errorsv1.Reason_REASON_DISK_FULL, makeRoom
	case "org.freedesktop.systemd1.UnitMasked":
		return errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_MASKED,
			"unmask it"
	case "org.freedesktop.systemd1.LoadFailed", "org.freedesktop.systemd1.BadUnitSetting":
		return errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_FAILED,
			"correct its file (systemd-analyze verify " + unit + ")"
	case "org.freedesktop.systemd1.OnlyByDependency",
		"org.freedesktop.systemd1.JobTypeNotApplicable":
		return errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_WRONG_STATE,
			"choose a request that this kind of unit accepts"
	case "org.freedesktop.systemd1.TransactionIsDestructive":
		return errs.Aborted, errorsv1.Reason_REASON_UNIT_JOB_REPLACED,
			"call again when the other request for the unit has ended"
	case "org.freedesktop.DBus.Error.InvalidArgs":
		return errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD, "check the unit's name"
	case "org.freedesktop.DBus.Error.AccessDenied",
		"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired":
		return errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
			"the agent must run as root"
	case "org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Timeout",
		"org.freedesktop.DBus.Error.Disconnected":
		return errs.Unavailable, errorsv1.Reason_REASON_SYSTEMD_DOWN, "try again"
	}
	return errs.Internal, errorsv1.Reason_REASON_UNIT_FAILED,
		"read its journal (journalctl -u " + unit + ")"
}

func notFound(unit string) error {
	return errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND,
		fmt.Sprintf("systemd knows no unit %s", unit),
		errs.WithHint("check the unit's name, or install its package"),
		errs.Meta("unit", unit))
}

func wrongState(unit, message string, hint errs.Option) error {
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_WRONG_STATE, message,
		hint, errs.Meta("unit", unit), errs.Precondition("units/"+unit, message))
}

func unquote(variant string) string { return strings.Trim(variant, `"`) }

func dbusName(err error) string {
	var dbusErr godbus.Error
	if errors.As(err, &dbusErr) {
		return dbusErr.Name
	}
	return ""
}
