// Package agent is the daemon: its configuration, its wiring, and its life from enrolment to a stop
// that leaves nothing behind.
package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/settings"
)

// EnvPrefix begins the name of every variable that is read: UNDERSTUDY_AGENT_LISTEN is `listen`;
// lists are separated by commas.
const EnvPrefix = "UNDERSTUDY_AGENT_"

// Config is the agent's configuration. Flags win over the environment, that over the file, that
// over the defaults.
type Config struct {
	// Listen is the address to serve on, host:port.
	Listen string `koanf:"listen"`
	// StateDir has the agent's identity and what must survive a reboot.
	StateDir string `koanf:"state_dir"`
	// RuntimeDir has what may vanish at a reboot.
	RuntimeDir string `koanf:"runtime_dir"`
	// JoinFile has the one-time token; it is needed until the agent has an identity.
	JoinFile string `koanf:"join_file"`
	// EC2Metadata is the address of the metadata service of an EC2 instance, for one that joins
	// without a token.
	EC2Metadata string `koanf:"ec2_metadata"`
	// Metrics is the address that Prometheus metrics, /healthz and /readyz are served on,
	// host:port; "off" for none.
	Metrics string `koanf:"metrics"`
	// LogLevel is "debug", "info", "warn" or "error".
	LogLevel string `koanf:"log_level"`
	// LogFormat is "text" or "json".
	LogFormat string `koanf:"log_format"`
	// Units are shell patterns of the units that may be changed; UnitsReadOnly of those that may
	// only be seen.
	Units         []string `koanf:"units"`
	UnitsReadOnly []string `koanf:"units_read_only"`
	// MountPoints are shell patterns of the paths that may be mounted on.
	MountPoints []string `koanf:"mount_points"`
	// DeviceIDs are shell patterns of the names below /dev/disk/by-id that may be mounted or
	// formatted.
	DeviceIDs []string `koanf:"device_ids"`
}

func defaults() map[string]any {
	return map[string]any{
		"listen":       ":7443",
		"state_dir":    "/var/lib/understudy-agent",
		"runtime_dir":  "/run/understudy-agent",
		"join_file":    "/etc/understudy-agent/join.json",
		"ec2_metadata": enroll.Metadata,
		"metrics":      "127.0.0.1:7444",
		"log_level":    "info",
		"log_format":   "text",
		"units": []string{"mariadb.service", "mariadb.socket", "mariadb-extra.socket",
			"srv-mariadb.mount", "var-lib-mysql.mount"},
		"units_read_only": []string{"understudy-*.service", "understudy-*.timer",
			"cloud-init*.service", "dev-*.device"},
		"mount_points": []string{"/srv/mariadb", "/var/lib/mysql"},
		"device_ids":   []string{"*"},
	}
}

// Sources is where a configuration comes from.
type Sources = settings.Sources

// Load reads the configuration from all its sources.
func Load(sources Sources) (Config, error) {
	schema := settings.Schema{Defaults: defaults(), EnvPrefix: EnvPrefix,
		// where the file is, is not in the file
		Foreign: func(rest string) bool { return rest == "CONFIG" }}
	var config Config
	if err := schema.Load(sources, &config); err != nil {
		return Config{}, err
	}
	return config, config.check()
}

func (c Config) check() error {
	var faults []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		faults = append(faults, fmt.Errorf("listen: %w", err))
	}
	for key, path := range map[string]string{"state_dir": c.StateDir, "runtime_dir": c.RuntimeDir,
		"join_file": c.JoinFile} {
		if !filepath.IsAbs(path) {
			faults = append(faults, fmt.Errorf("%s: %q is not an absolute path", key, path))
		}
	}
	for _, point := range c.MountPoints {
		if !filepath.IsAbs(point) || filepath.Clean(point) == "/" {
			faults = append(faults, fmt.Errorf("mount_points: %q is not an absolute path below /",
				point))
		}
	}
	if u, err := url.Parse(c.EC2Metadata); err != nil || u.Scheme != "http" || u.Host == "" ||
		u.Path != "" {
		faults = append(faults, fmt.Errorf("ec2_metadata: %q is not http://host", c.EC2Metadata))
	}
	if _, _, err := net.SplitHostPort(c.Metrics); err != nil && c.Metrics != "off" {
		faults = append(faults, fmt.Errorf("metrics: %q is neither host:port nor off", c.Metrics))
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		faults = append(faults, fmt.Errorf("log_format: %q is neither text nor json", c.LogFormat))
	}
	if _, err := c.Level(); err != nil {
		faults = append(faults, err)
	}
	if faults == nil {
		return nil
	}
	return fmt.Errorf("cannot use the configuration: %w", errors.Join(faults...))
}

// Level is LogLevel for slog.
func (c Config) Level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return level, fmt.Errorf("log_level: %q: must be one of debug, info, warn, error",
			c.LogLevel)
	}
	return level, nil
}
