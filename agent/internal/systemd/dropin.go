package systemd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const maxDropIn = 16 << 10

// dropInName matches the agent's own files, so that no other is overwritten.
const dropInName = `^understudy(-[a-z0-9-]{1,40})?\.conf$`

// What a drop-in may set. Nothing here can run a command or start a unit that is not on the
// allow-list.
func dependencyKeys() []string {
	return []string{"After", "Before", "BindsTo", "PartOf", "Requires", "Requisite", "Wants"}
}

func plainKeys(section string) []string {
	switch section {
	case "Unit":
		return []string{"RequiresMountsFor", "StartLimitBurst", "StartLimitIntervalSec"}
	case "Service":
		return []string{"CPUWeight", "IOWeight", "LimitCORE", "LimitMEMLOCK", "LimitNOFILE",
			"LimitNPROC", "MemoryHigh", "MemoryLow", "MemoryMax",
			"MemoryMin", "MemorySwapMax", "Nice", "OOMScoreAdjust", "Restart", "RestartSec",
			"TasksMax", "TimeoutStartSec", "TimeoutStopSec"}
	}
	return nil
}

// SetDropIn makes sure that the unit has the drop-in with that content, and that systemd has read
// it. Names and keys are on allow-lists: InvalidArgument, PermissionDenied. It says whether the
// file had another content.
func (f *Files) SetDropIn(ctx context.Context, unit, name, content string) (bool, error) {
	if err := checkDropIn(unit, name); err != nil {
		return false, err
	}
	if err := f.allow.checkContent(content); err != nil {
		return false, err
	}
	if _, err := f.bus.get(ctx, unit); err != nil {
		return false, err
	}
	return f.writeAndReload(ctx, unit, f.dropInPath(unit, name), []byte(content))
}

// DeleteDropIn removes a drop-in that SetDropIn wrote. It says whether there was one.
func (f *Files) DeleteDropIn(ctx context.Context, unit, name string) (bool, error) {
	if err := checkDropIn(unit, name); err != nil {
		return false, err
	}
	return f.removeAndReload(ctx, f.dropInPath(unit, name))
}

func (f *Files) dropInPath(unit, name string) string {
	return filepath.Join(f.dir, unit+".d", name)
}

func checkDropIn(unit, name string) error {
	if err := CheckName(unit); err != nil {
		return err
	}
	if ok, err := regexp.MatchString(dropInName, name); err == nil && ok {
		return nil
	}
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
		fmt.Sprintf("cannot write drop-in %.100q: its name is not allowed", name),
		errs.Field("drop_in", "must be understudy.conf or understudy-….conf"),
		errs.WithHint("name it understudy.conf or understudy-….conf"))
}

// checkContent reads the drop-in line by line: sections, keys and values have to be known, one line
// each.
func (a *AllowList) checkContent(content string) error {
	if len(content) > maxDropIn {
		return badContent(fmt.Sprintf("it is longer than %d bytes", maxDropIn))
	}
	section := ""
	for number, line := range strings.Split(content, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			if strings.HasSuffix(line, `\`) {
				return badContent(fmt.Sprintf("line %d continues in the next line", number+1))
			}
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
			if line != "["+section+"]" || plainKeys(section) == nil {
				return badContent(fmt.Sprintf("line %d: section %.40q is not allowed", number+1,
					section))
			}
		default:
			if err := a.checkSetting(section, line); err != nil {
				return badContent(fmt.Sprintf("line %d: %v", number+1, err))
			}
		}
	}
	return nil
}

func (a *AllowList) checkSetting(section, line string) error {
	key, value, found := strings.Cut(line, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	switch {
	case !found:
		return fmt.Errorf("%.40q is not a setting", line)
	case strings.ContainsAny(value, "%\\\x00\r"):
		return fmt.Errorf("the value of %.40q has a character that is not allowed", key)
	case section == "Unit" && slices.Contains(dependencyKeys(), key):
		return a.checkDependencies(value)
	case !slices.Contains(plainKeys(section), key):
		return fmt.Errorf("[%s] %.40s is not allowed", section, key)
	}
	return nil
}

// checkDependencies: a dependency can start units, so it may name those on the allow-list, mounts,
// and what every service waits for.
func (a *AllowList) checkDependencies(value string) error {
	for _, name := range strings.Fields(value) {
		harmless := strings.HasSuffix(name, ".mount") || name == "network.target" ||
			name == "network-online.target" || name == "local-fs.target"
		if CheckName(name) != nil || !harmless && !a.Sees(name) {
			return fmt.Errorf("a dependency on %.100q is not allowed", name)
		}
	}
	return nil
}

func badContent(why string) error {
	return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
		"cannot write the drop-in: "+why, errs.Field("content", why),
		errs.WithHint("keep to dependencies and start limits in [Unit], limits and timeouts in "+
			"[Service]"))
}

// DropIns are the contents of all drop-ins of that name that SetDropIn wrote, by unit.
func (f *Files) DropIns(name string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(f.dir, "*.d", name))
	if err != nil {
		return nil, fmt.Errorf("cannot list the drop-ins %s: %w", name, err)
	}
	found := map[string]string{}
	for _, path := range paths {
		unit := strings.TrimSuffix(filepath.Base(filepath.Dir(path)), ".d")
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("cannot read a drop-in: %w", err)
		}
		if CheckName(unit) == nil {
			found[unit] = string(content)
		}
	}
	return found, nil
}
