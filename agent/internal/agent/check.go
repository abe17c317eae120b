package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// Finding is one check of the host.
type Finding struct {
	// What was checked.
	What string `json:"what"`
	// State is "ok", "missing" (the agent cannot do its work) or "warning".
	State string `json:"state"`
	// Found is what was found, and the hint when something is missing.
	Found string `json:"found"`
}

// States of a Finding.
const (
	StateOK      = "ok"
	StateMissing = "missing"
	StateWarning = "warning"
)

// Check looks whether this host has what the agent needs. It changes nothing.
func Check(ctx context.Context, config Config) ([]Finding, error) {
	log := slog.New(slog.DiscardHandler)
	enroller, err := enroll.New(enroll.Config{StateDir: config.StateDir, JoinFile: config.JoinFile,
		Logger: log})
	if err != nil {
		return nil, err
	}
	p, err := build(config, "/usr/bin/understudy-agent", enroller.MariaDBFiles(), log)
	if err != nil {
		return nil, err
	}
	defer p.close(log)
	findings := []Finding{checkRoot(), p.checkSystemd(ctx)}
	findings = append(findings, p.checkTools()...)
	return append(findings, p.checkUnit(ctx), checkIdentity(config, enroller)), nil
}

// Missing says whether something is missing that the agent needs.
func Missing(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.State == StateMissing })
}

func checkRoot() Finding {
	if os.Geteuid() == 0 {
		return Finding{"user", StateOK, "root"}
	}
	return Finding{"user", StateMissing, fmt.Sprintf("user id %d; the agent must run as root",
		os.Geteuid())}
}

func (p *parts) checkSystemd(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	version, err := p.units.Version(ctx)
	if err != nil {
		return Finding{"systemd", StateMissing,
			err.Error() + "; install dbus, and run the agent on a host whose PID 1 is systemd"}
	}
	return Finding{"systemd", StateOK, version}
}

func (p *parts) checkTools() []Finding {
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
		{"mariadb-server", StateWarning,
			[]string{"mariadbd", "my_print_defaults", "mariadb-install-db", "mariadb-upgrade"}},
	} {
		for _, tool := range group.tools {
			path, err := p.exec.Look(tool)
			finding := Finding{tool, StateOK, path}
			if errors.Is(err, hostexec.ErrToolMissing) {
				finding = Finding{tool, group.state, "not installed; install the package " +
					group.packages}
			}
			findings = append(findings, finding)
		}
	}
	return findings
}

func (p *parts) checkUnit(ctx context.Context) Finding {
	unit, err := p.units.Get(ctx, mariadb.Unit)
	if err != nil {
		return Finding{mariadb.Unit, StateWarning, err.Error()}
	}
	return Finding{mariadb.Unit, StateOK, fmt.Sprintf("%s, %s (%s)", unit.FileState, unit.Active,
		unit.Sub)}
}

func checkIdentity(config Config, enroller *enroll.Enroller) Finding {
	const what = "identity"
	files, err := identity.NewFiles(enroller.Files())
	if err == nil {
		return describeIdentity(files)
	}
	if _, statErr := os.Stat(config.JoinFile); statErr == nil {
		return Finding{what, StateWarning, "none yet; the agent enrols with " + config.JoinFile +
			" when it starts"}
	} else if !errors.Is(statErr, fs.ErrNotExist) {
		return Finding{what, StateMissing, statErr.Error()}
	}
	return Finding{what, StateMissing,
		"none, and no join file; write a new join token of the control plane to " +
			config.JoinFile}
}

func describeIdentity(source identity.Source) Finding {
	credentials, err := source.Credentials()
	if err != nil || credentials.Certificate == nil ||
		len(credentials.Certificate.Certificate) == 0 {
		return Finding{"identity", StateMissing, fmt.Sprintf("cannot be used: %v", err)}
	}
	leaf, err := x509.ParseCertificate(credentials.Certificate.Certificate[0])
	if err != nil {
		return Finding{"identity", StateMissing, err.Error()}
	}
	name := "without a name"
	if len(leaf.URIs) > 0 {
		name = leaf.URIs[0].String()
	}
	state := StateOK
	if time.Now().After(leaf.NotAfter) {
		state = StateMissing
	}
	return Finding{"identity", state,
		fmt.Sprintf("%s, until %s", name, leaf.NotAfter.UTC().Format(time.RFC3339))}
}
