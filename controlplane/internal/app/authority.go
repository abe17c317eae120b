package app

import (
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
)

// checkAuthority holds the settings of the CA's keys to each other.
func (c Config) checkAuthority(fault func(bad bool, format string, args ...any)) {
	fault(!slices.Contains([]ca.KeyPlace{ca.KeyInStateDir, ca.KeyInFile}, c.CAKey),
		"ca_key: %q must be one of state_dir, file", c.CAKey)
	fault(c.CAKey == ca.KeyInFile && len(c.CAKeyFiles) == 0,
		"ca_key: file needs ca_key_files, which has the key")
	for _, file := range c.CAKeyFiles {
		fault(!filepath.IsAbs(file), "ca_key_files: %q is not an absolute path", file)
	}
}

// authority says where the CA is, and its keys.
func (c Config) authority(log *slog.Logger) ca.AuthorityConfig {
	return ca.AuthorityConfig{Dir: c.path("ca"), NewKey: c.CAKey, KeyFiles: c.CAKeyFiles,
		ReplaceLost: c.ReplaceLostRoot, Logger: log}
}
