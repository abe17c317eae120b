package systemd

import (
	"context"
	"encoding/hex"
	"slices"
	"time"
)

// Unit is a unit as systemd sees it.
type Unit struct {
	// Name with suffix, and Description.
	Name, Description string
	// Active, Sub and Load are systemd's ActiveState, SubState and LoadState.
	Active, Sub, Load string
	// FileState is systemd's UnitFileState; empty without a file.
	FileState string
	// LoadError says why the unit could not be loaded; empty when it was.
	LoadError string
	// Fragment is the path of the main file, DropIns those of the drop-ins in force.
	Fragment string
	DropIns  []string
	// InvocationID is the id of this run, 32 hexadecimal digits; empty before the first.
	InvocationID string
	// Result is how the last run ended.
	Result string
	// MainPID is 0 without a main process; ExitStatus is the exit code or signal of the last one.
	MainPID, ExitStatus int
	// MemoryBytes is 0 where the kernel does not account for it.
	MemoryBytes int64
	// Restarts is how often systemd restarted it by itself.
	Restarts int
	// ActiveSince is when it became active last; zero when it never did.
	ActiveSince time.Time
	// StatusText is what the unit says of itself.
	StatusText string
	// NeedsReload is true when its files changed since systemd read them.
	NeedsReload bool
	// CanReload is true when it takes a reload.
	CanReload bool
	// TriggeredBy names the sockets, timers and paths that start it.
	TriggeredBy []string
	// Dependencies names the units that it cannot be active without.
	Dependencies []string
	// job is the id of a job that waits or runs for it; 0 without one.
	job uint32
}

// The states that decisions are made on.
const (
	active     = "active"
	reloading  = "reloading"
	inactive   = "inactive"
	failed     = "failed"
	activating = "activating"
	masked     = "masked"
)

// Running is true for a unit that is active, reloading included.
func (u Unit) Running() bool { return u.Active == active || u.Active == reloading }

// Stopped is true for a unit that is inactive or failed.
func (u Unit) Stopped() bool { return u.Active == inactive || u.Active == failed }

// Masked is true when the unit or its file is masked.
func (u Unit) Masked() bool {
	return u.Load == masked || u.FileState == masked || u.FileState == "masked-runtime"
}

// Get is the unit as systemd sees it now. NotFound when systemd knows none of that name.
func (m *Manager) Get(ctx context.Context, name string) (Unit, error) {
	return m.bus.get(ctx, name)
}

func fromProperties(name string, p properties) Unit {
	unit := Unit{
		Name: name, Description: p.text("Description"),
		Active: p.text("ActiveState"), Sub: p.text("SubState"), Load: p.text("LoadState"),
		FileState: p.text("UnitFileState"),
		LoadError: p.loadError(), Fragment: p.text("FragmentPath"), DropIns: p.texts("DropInPaths"),
		InvocationID: p.hexBytes("InvocationID"), Result: p.text("Result"),
		MainPID: int(p.number("MainPID")), ExitStatus: int(p.number("ExecMainStatus")),
		MemoryBytes: p.memory(), Restarts: int(p.number("NRestarts")),
		ActiveSince: p.time("ActiveEnterTimestamp"),
		StatusText:  p.text("StatusText"), NeedsReload: p.flag("NeedDaemonReload"),
		CanReload:   p.flag("CanReload"),
		TriggeredBy: p.texts("TriggeredBy"), job: p.jobID(),
	}
	unit.Dependencies = append(append(p.texts("Requires"), p.texts("BindsTo")...),
		p.texts("Requisite")...)
	slices.Sort(unit.Dependencies)
	unit.Dependencies = slices.Compact(unit.Dependencies)
	return unit
}

// properties are those of D-Bus, read without trust in their types: they differ between versions of
// systemd.
type properties map[string]any

func (p properties) text(key string) string { s, _ := p[key].(string); return s }

func (p properties) texts(key string) []string { s, _ := p[key].([]string); return slices.Clone(s) }

func (p properties) flag(key string) bool { b, _ := p[key].(bool); return b }

func (p properties) number(key string) int64 {
	switch n := p[key].(type) {
	case int32:
		return int64(n)
	case uint32:
		return int64(n)
	case int64:
		return n
	case uint64:
		return int64(min(n, 1<<63-1))
	}
	return 0
}

// memory knows systemd's word for "not known", the largest number.
func (p properties) memory() int64 {
	const unknown = 1<<63 - 1
	if n := p.number("MemoryCurrent"); n != unknown {
		return n
	}
	return 0
}

func (p properties) time(key string) time.Time {
	if usec := p.number(key); usec > 0 {
		return time.UnixMicro(usec)
	}
	return time.Time{}
}

func (p properties) hexBytes(key string) string {
	b, _ := p[key].([]byte)
	return hex.EncodeToString(b)
}

func (p properties) jobID() uint32 {
	if job, ok := p["Job"].([]any); ok && len(job) > 0 {
		id, _ := job[0].(uint32)
		return id
	}
	return 0
}

func (p properties) loadError() string {
	if pair, ok := p["LoadError"].([]any); ok && len(pair) == 2 {
		message, _ := pair[1].(string)
		return message
	}
	return ""
}
