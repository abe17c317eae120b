package systemd

import (
	"fmt"
	"path"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// AllowList says which units may be seen, and which of them may be changed.
type AllowList struct{ change, see []string }

// NewAllowList makes an allow-list of shell patterns ("mariadb*.service"): units that may be
// changed, and units that may only be seen.
func NewAllowList(change, see []string) (*AllowList, error) {
	for _, pattern := range append(append([]string{}, change...), see...) {
		if _, err := path.Match(pattern, "x"); err != nil || pattern == "" {
			return nil, fmt.Errorf("cannot use %q as a pattern of units: %w", pattern,
				path.ErrBadPattern)
		}
	}
	return &AllowList{change: change, see: see}, nil
}

// CheckSee refuses a malformed name (InvalidArgument), and a unit that may not be seen
// (PermissionDenied).
func (a *AllowList) CheckSee(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if a.Sees(name) {
		return nil
	}
	return notAllowed(name, "units", "cannot use unit %s: it is not on the host's allow-list")
}

// CheckChange refuses a malformed name (InvalidArgument), and a unit that may not be changed
// (PermissionDenied).
func (a *AllowList) CheckChange(name string) error {
	if err := a.CheckSee(name); err != nil {
		return err
	}
	if a.Changes(name) {
		return nil
	}
	return notAllowed(name, "units", "cannot change unit %s: it is read-only on this host")
}

// Sees is true for a unit that may be seen.
func (a *AllowList) Sees(name string) bool { return matches(a.see, name) || a.Changes(name) }

// Changes is true for a unit that may be changed.
func (a *AllowList) Changes(name string) bool { return matches(a.change, name) }

// patterns are all of them, for a list.
func (a *AllowList) patterns() []string { return append(append([]string{}, a.change...), a.see...) }

func matches(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}

func notAllowed(name, setting, format string) error {
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
		fmt.Sprintf(format, name), errs.Meta("unit", name),
		errs.WithHint(fmt.Sprintf("add it to `%s` in /etc/understudy-agent/agent.yaml on the "+
			"host, then restart understudy-agent", setting)))
}
