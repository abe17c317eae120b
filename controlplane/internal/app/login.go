package app

import (
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/controlplane/internal/service/enrollment"
)

// checkLogins wants the identity provider whole, or nothing of it.
func (c Config) checkLogins(fault func(bad bool, format string, args ...any)) {
	for key, value := range map[string]string{"oidc_client_id": c.OIDCClientID,
		"oidc_groups_file": c.OIDCGroupsFile} {
		fault(c.OIDCIssuer != "" && value == "", "%s: is required with oidc_issuer", key)
		fault(c.OIDCIssuer == "" && value != "", "%s: is nothing without oidc_issuer", key)
	}
	fault(c.OIDCClientSecretFile != "" && c.OIDCIssuer == "",
		"oidc_client_secret_file: is nothing without oidc_issuer")
	fault(c.OIDCClientSecretFile != "" && !filepath.IsAbs(c.OIDCClientSecretFile),
		"oidc_client_secret_file: %q is not an absolute path", c.OIDCClientSecretFile)
	fault(!slices.Contains([]login.ClientAuth{login.AuthBasic, login.AuthPost}, c.OIDCClientAuth),
		"oidc_client_auth: %q must be one of basic, post", c.OIDCClientAuth)
	fault(c.OIDCGroupsFile != "" && !filepath.IsAbs(c.OIDCGroupsFile),
		"oidc_groups_file: %q is not an absolute path", c.OIDCGroupsFile)
	fault(c.OIDCSession != 0 && (c.OIDCSession < 5*time.Minute ||
		c.OIDCSession > c.OperatorCertificateLife), "oidc_session: %s is not between 5m and "+
		"operator_certificate_life, and not 0 for as long as the ID token", c.OIDCSession)
}

// newLogins knows the identity provider; nil without one. Nobody asks it before somebody logs in.
func newLogins(cfg Config, log *slog.Logger) (enrollment.Logins, error) {
	if cfg.OIDCIssuer == "" {
		return nil, nil //nolint:nilnil // nobody logs in
	}
	logins, err := login.New(login.Config{Issuer: cfg.OIDCIssuer, ClientID: cfg.OIDCClientID,
		SecretFile: cfg.OIDCClientSecretFile, Auth: cfg.OIDCClientAuth,
		GroupsFile: cfg.OIDCGroupsFile, GroupsClaim: cfg.OIDCGroupsClaim,
		NameClaim: cfg.OIDCNameClaim, Scopes: cfg.OIDCScopes, Session: cfg.OIDCSession,
		Logger: log})
	if err != nil {
		return nil, err
	}
	log.Info("operators log in with their accounts", "issuer", cfg.OIDCIssuer)
	return logins, nil
}
