package mount

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/systemd"
)

const (
	byID       = "/dev/disk/by-id/"
	dropInFile = "understudy.conf"
	header     = "# Written by understudy-agent; changes are lost.\n"
)

// volumeUnit is the unit file that mounts a volume by its id. A volume that is missing at boot
// delays nothing but what is bound to it.
func volumeUnit(id, path, filesystem string) []byte {
	options := "noatime,nofail," + dataOptions
	if filesystem == xfs {
		// the id says which volume is meant; a copy beside it is no reason to refuse
		options += ",nouuid"
	}
	return fmt.Appendf(nil, `%s[Unit]
Description=Volume %s at %s

[Mount]
What=%s%s
Where=%s
Type=%s
Options=%s
TimeoutSec=%d

[Install]
WantedBy=multi-user.target
`, header, id, path, byID, id, path, filesystem, options, int(mountTimeout.Seconds()))
}

// bindUnit is the unit file that binds a directory of a volume to another path.
func bindUnit(source, path, below string) []byte {
	parent := systemd.MountUnit(below)
	return fmt.Appendf(nil, `%s[Unit]
Description=%s at %s
BindsTo=%s
After=%s
RequiresMountsFor=%s

[Mount]
What=%s
Where=%s
Type=none
Options=bind,nofail

[Install]
WantedBy=multi-user.target
`, header, source, path, parent, parent, below, source, path)
}

// boundDropIn is the drop-in that lets a unit run only while all of these mounts are there.
func boundDropIn(mounts []string) string {
	list := strings.Join(mounts, " ")
	return fmt.Sprintf("%s[Unit]\nBindsTo=%s\nAfter=%s\n", header, list, list)
}

// bound are the mounts that such a drop-in names.
func bound(content string) []string {
	return strings.Fields(unitSetting([]byte(content), "BindsTo"))
}

// bind makes the units depend on the mount; what they are bound to besides stays. It says what it
// changed.
func bind(ctx context.Context, conf DropIns, units []string, mountUnit string) ([]string,
	error) {
	var changes []string
	for _, unit := range units {
		dropIns, err := conf.DropIns(dropInFile)
		if err != nil {
			return changes, err
		}
		mounts := bound(dropIns[unit])
		if !slices.Contains(mounts, mountUnit) {
			mounts = append(mounts, mountUnit)
		}
		slices.Sort(mounts)
		changed, err := conf.SetDropIn(ctx, unit, dropInFile, boundDropIn(mounts))
		if err != nil {
			return changes, fmt.Errorf("cannot bind %s to %s: %w", unit, mountUnit, err)
		}
		if changed {
			changes = append(changes, "bound "+unit+" to "+mountUnit)
		}
	}
	return changes, nil
}

// unbind takes the mount out of all drop-ins that bind units to it.
func unbind(ctx context.Context, conf DropIns, mountUnit string) ([]string, error) {
	dropIns, err := conf.DropIns(dropInFile)
	if err != nil {
		return nil, err
	}
	var changes []string
	for unit, content := range dropIns {
		mounts := bound(content)
		if !slices.Contains(mounts, mountUnit) {
			continue
		}
		mounts = slices.DeleteFunc(mounts, func(name string) bool { return name == mountUnit })
		if len(mounts) == 0 {
			_, err = conf.DeleteDropIn(ctx, unit, dropInFile)
		} else {
			_, err = conf.SetDropIn(ctx, unit, dropInFile, boundDropIn(mounts))
		}
		if err != nil {
			return changes, fmt.Errorf("cannot unbind %s from %s: %w", unit, mountUnit, err)
		}
		changes = append(changes, "unbound "+unit+" from "+mountUnit)
	}
	slices.Sort(changes)
	return changes, nil
}
