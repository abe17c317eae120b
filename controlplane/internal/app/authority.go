package app

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/signer"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
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

// openAuthority opens the CA, or says which file of it is damaged.
func openAuthority(ctx context.Context, cfg Config, st *store.Store, log *slog.Logger) (
	*ca.Authority, error) {
	config, err := cfg.authority(log)
	if err == nil {
		err = rootIsThere(cfg)
	}
	if err == nil {
		err = recordsAreThere(ctx, cfg, st)
	}
	if err != nil {
		return nil, err
	}
	if !cfg.ReplaceLostRoot {
		config.Claim = func(ctx context.Context, pin string) error {
			return claimed(ctx, st, cfg, pin, pin)
		}
	}
	config.Records = func(ctx context.Context) (string, error) { return recordsName(ctx, st) }
	authority, err := ca.OpenAuthority(ctx, config)
	var unsigned *ca.NoSignature
	if errors.As(err, &unsigned) {
		return nil, err
	}
	return authority, unusable(err, "see that the files of "+config.Dir+" can be read and "+
		"written; when one is damaged or gone, restore the folder from a backup; docs/ca.md says "+
		"what to do without one")
}

// rootIsThere refuses to make a root for a key whose root is gone: it would have another name, and
// no host would believe it. The copy is looked for first: the root was there before it.
func rootIsThere(cfg Config) error {
	root, copied := cfg.path("ca", "ca.pem"), cfg.path("controlplane", "ca.pem")
	if !there(copied) || !there(cfg.path("ca", "key.pem")) || there(root) ||
		cfg.ReplaceLostRoot || cfg.ReplaceLostIntermediate != "" {
		return nil
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_STORE_MISMATCH,
		"cannot use the certificate authority in "+cfg.path("ca")+": ca.pem is gone",
		errs.WithHint("restore the folder from a backup; without one copy "+copied+" to "+root+
			", unless an intermediate signs; docs/ca.md says more"))
}

// recordsFact is the fact of the store that names it.
const recordsFact = "records"

// recordsAreThere refuses to begin records in a state directory that has been used with others: who
// was revoked is in those alone. The root is in the folder, and signs, after it is in the records.
func recordsAreThere(ctx context.Context, cfg Config, st *store.Store) error {
	used := slices.ContainsFunc([]string{"ca/ca.pem", "ca/ca.pem.lost", "controlplane/key.pem",
		"operator/key.pem"}, func(name string) bool { return there(cfg.path(name)) })
	if !used {
		return nil
	}
	var root string
	if err := st.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		root, err = tx.Fact(ctx, rootFact)
		return err
	}); err != nil || root != "" {
		return err
	}
	records, hint := cfg.path("understudy.db"), "restore the newest backup: move "+cfg.StateDir+
		" away, then understudy restore"
	if cfg.StoreDSNFile != "" {
		records, hint = "the MariaDB of "+cfg.StoreDSNFile, "load the newest dump of it, then "+
			"understudy restore --dump-time"
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_STORE_MISMATCH,
		"cannot use the certificate authority in "+cfg.path("ca")+": the records in "+records+
			" are empty, and do not have who was revoked",
		errs.WithHint(hint+"; without one move "+cfg.StateDir+" away and start: each host joins, "+
			"and each operator is created, again"))
}

// recordsName is a name of the records, which they have from the first start on.
func recordsName(ctx context.Context, st *store.Store) (name string, err error) {
	err = st.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		root, err := tx.Fact(ctx, rootFact)
		if err != nil {
			return err
		}
		if name, err = tx.Fact(ctx, recordsFact); err != nil || root != "" {
			return err // a root of an earlier version has its key's name alone
		}
		name, err = tx.Settle(ctx, recordsFact, rand.Text())
		return err
	})
	return name, err
}

// there is false when it is certain that the file is not.
func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// unusable is an error about a file of the state directory, with what to do unless it says so.
func unusable(err error, hint string) error {
	if err == nil || errs.HintOf(err).String() != "" {
		return err
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNSPECIFIED, "cannot start",
		errs.Wrap(err), errs.WithHint(hint))
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
			return unusable(err, "see that the files of "+k.Dir+" can be read and written; "+
				"when one is damaged, remove it: another one is made")
		}
	}
	return nil
}
