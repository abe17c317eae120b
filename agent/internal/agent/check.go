package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Finding is one check of the host.
type Finding struct {
	// What was checked.
	What string `json:"what"`
	// State is "ok", "missing" (the agent cannot do its work) or "warning".
	State string `json:"state"`
	// Found is what was found.
	Found string `json:"found"`
	// Hint says what to do, with the host's own command; empty when all is well.
	Hint string `json:"hint,omitempty"`
}

// States of a Finding.
const (
	StateOK      = "ok"
	StateMissing = "missing"
	StateWarning = "warning"
)

func ok(what, format string, args ...any) Finding {
	return Finding{What: what, State: StateOK, Found: fmt.Sprintf(format, args...)}
}

func missing(what, found, hint string) Finding {
	return Finding{What: what, State: StateMissing, Found: found, Hint: hint}
}

func warning(what, found, hint string) Finding {
	return Finding{What: what, State: StateWarning, Found: found, Hint: hint}
}

// Missing says whether something is missing that the agent needs.
func Missing(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.State == StateMissing })
}

// checkTimeout bounds each question to systemd.
const checkTimeout = 10 * time.Second

// examiner looks at a host. It changes nothing.
type examiner struct {
	*parts
	config   Config
	enroller *enroll.Enroller
}

func newExaminer(config Config) (*examiner, error) {
	p, enroller, err := open(config, installed, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &examiner{parts: p, config: config, enroller: enroller}, nil
}

func (e *examiner) close() { e.parts.close(slog.New(slog.DiscardHandler)) }

// Check looks whether this host has what the agent needs, and whether the control plane can be
// reached and has the same time. It changes nothing.
func Check(ctx context.Context, config Config) ([]Finding, error) {
	e, err := newExaminer(config)
	if err != nil {
		return nil, err
	}
	defer e.close()
	findings := append(e.host(ctx), e.identity())
	addresses, pin, err := e.enroller.ControlPlane()
	if err != nil {
		return findings, nil // the identity's finding says why
	}
	return append(findings, introduce(ctx, addresses, pin).findings()...), nil
}

// host is all that can be seen without the control plane.
func (e *examiner) host(ctx context.Context) []Finding {
	findings := []Finding{checkRoot(), e.checkSystemd(ctx),
		e.checkedUnit(ctx, ownUnit, "understudy-agent")}
	findings = append(findings, e.checkTools()...)
	findings = append(findings, e.checkMariaDB(ctx)...)
	findings = append(findings, e.checkMounts(ctx)...)
	return append(findings, e.checkListen(ctx), checkRoom(e.config.StateDir))
}

func checkRoot() Finding {
	if os.Geteuid() == 0 {
		return ok("user", "root")
	}
	return missing("user", fmt.Sprintf("user id %d", os.Geteuid()), "run it as root (sudo)")
}

func (e *examiner) checkSystemd(ctx context.Context) Finding {
	const what = "systemd"
	if name, err := os.ReadFile("/proc/1/comm"); err == nil &&
		strings.TrimSpace(string(name)) != "systemd" {
		return missing(what, "PID 1 is "+strings.TrimSpace(string(name)),
			"run the agent on a host whose PID 1 is systemd")
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	version, err := e.units.Version(ctx)
	if err != nil {
		return missing(what, err.Error(),
			"install D-Bus (apt-get install dbus; systemctl start dbus.socket)")
	}
	return ok(what, "%s, over D-Bus", version)
}

// checkTools sees the programs that the agent runs, by the package that has them.
func (e *examiner) checkTools() []Finding {
	var findings []Finding
	for _, group := range []struct {
		packages string
		state    string
		tools    []string
	}{
		{"util-linux", StateMissing, []string{"blkid"}},
		{"systemd", StateMissing, []string{"journalctl"}},
		{"e2fsprogs", StateMissing, []string{"e2fsck", "tune2fs", "resize2fs", "mkfs.ext4"}},
		{"xfsprogs", StateWarning, []string{"xfs_repair", "xfs_admin", "xfs_growfs", "mkfs.xfs"}},
		{"mariadb-server", StateMissing,
			[]string{"mariadbd", "my_print_defaults", "mariadb-install-db", "mariadb-upgrade"}},
	} {
		absent := slices.DeleteFunc(slices.Clone(group.tools), func(tool string) bool {
			_, err := e.exec.Look(tool)
			return !errors.Is(err, hostexec.ErrToolMissing)
		})
		finding := ok("programs", "%s", strings.Join(group.tools, ", "))
		if len(absent) > 0 {
			finding = Finding{What: "programs", State: group.state,
				Found: strings.Join(absent, ", ") + " not installed",
				Hint:  installHint(group.packages)}
		}
		findings = append(findings, finding)
	}
	return findings
}

func installHint(name string) string {
	return "install the package " + name + " (apt-get install " + name + ")"
}

// checkedUnit is the finding on a unit that its package brings.
func (e *examiner) checkedUnit(ctx context.Context, name, ofPackage string) Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	unit, err := e.units.Get(ctx, name)
	switch {
	case err == nil:
		return ok(name, "%s, %s (%s)", unit.FileState, unit.Active, unit.Sub)
	case errs.KindOf(err) == errs.NotFound:
		return missing(name, "systemd has no such unit", installHint(ofPackage))
	}
	return findingOf(name, StateMissing, err, "see the finding on systemd")
}

// findingOf returns an error as a finding: its text, and its hint.
func findingOf(what, state string, err error, fallback string) Finding {
	hint := errs.HintOf(err).String()
	if hint == "" {
		hint = fallback
	}
	return Finding{What: what, State: state, Found: err.Error(), Hint: hint}
}
