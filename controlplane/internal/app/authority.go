package app

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/signer"
)

// checkAuthority holds the settings of the CA's keys to each other.
func (c Config) checkAuthority(fault func(bad bool, format string, args ...any)) {
	fault(!slices.Contains([]ca.KeyPlace{ca.KeyInStateDir, ca.KeyInFile, ca.KeyInSigner}, c.CAKey),
		"ca_key: %q must be one of state_dir, file, signer", c.CAKey)
	fault(c.CAKey == ca.KeyInSigner && len(c.CASigner) == 0,
		"ca_key: signer needs ca_signer, which has the key")
	fault(len(c.CASigner) > 0 && !filepath.IsAbs(c.CASigner[0]),
		"ca_signer: %q must begin with the absolute path of a program", c.CASigner)
	fault(c.CASignerLimit < time.Second || c.CASignerLimit > time.Minute,
		"ca_signer_limit: %s is not between 1s and 1m", c.CASignerLimit)
	fault(c.CAKey == ca.KeyInFile && len(c.CAKeyFiles) == 0,
		"ca_key: file needs ca_key_files, which has the key")
	for _, file := range c.CAKeyFiles {
		fault(!filepath.IsAbs(file), "ca_key_files: %q is not an absolute path", file)
	}
}

// authority says where the CA is, and its keys.
func (c Config) authority(log *slog.Logger) (ca.AuthorityConfig, error) {
	config := ca.AuthorityConfig{Dir: c.path("ca"), NewKey: c.CAKey, KeyFiles: c.CAKeyFiles,
		ReplaceLost: c.ReplaceLostRoot, Intermediate: c.ReplaceLostIntermediate, Logger: log}
	if len(c.CASigner) == 0 {
		return config, nil
	}
	program, err := signer.New(signer.Config{Command: c.CASigner, Limit: c.CASignerLimit})
	config.Signer = program
	return config, err
}

// keepAll sees that the kept identities are good. A signer that is away is no reason to serve
// nothing: what is still valid is used, and tried again later.
func keepAll(ctx context.Context, registry *ca.Registry, kept []ca.Kept, log *slog.Logger) error {
	for _, k := range kept {
		err := registry.Keep(ctx, k)
		var unsigned *ca.NoSignature
		if errors.As(err, &unsigned) && (k.Identity.Role.IsOperator() || k.Usable(registry)) {
			log.Warn("a certificate is not renewed yet", "identity", k.Identity.String(), "error",
				err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}
