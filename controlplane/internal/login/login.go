package login

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// Config is what a Login needs. Issuer, ClientID and GroupsFile have no default.
type Config struct {
	// Issuer is the identity provider's address, as its ID tokens have it.
	Issuer string
	// ClientID is whom ID tokens are to be for.
	ClientID string
	// SecretFile has the client's secret; empty for a client without one. Who logs in never gets
	// it: the control plane makes the requests to the provider.
	SecretFile string
	// Auth is how the secret is shown.
	Auth ClientAuth
	// GroupsFile says what groups may do.
	GroupsFile string
	// GroupsClaim is the claim with the groups; "groups" when empty.
	GroupsClaim string
	// NameClaim is the claim with the name that is shown; "email" when empty.
	NameClaim string
	// Scopes are what clients ask the provider for.
	Scopes []string
	// Session is how long a login lasts; as long as its ID token when 0.
	Session time.Duration
	// Spacing is the least time between two requests to one address of the provider; 2 s when 0.
	Spacing time.Duration
	// Patience is how long a request with the secret may take, with the wait for others; 10 s when
	// 0.
	Patience time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Logger is the default logger when nil.
	Logger *slog.Logger
}

// Login knows the identity provider with whose accounts operators log in.
type Login struct {
	config Config
	issuer *issuer
	secret secret
	speaks *http.Client
	calls  chan struct{} // of requests with the secret
}

// New makes one. The groups file must be usable; the provider need not answer yet.
func New(config Config) (*Login, error) {
	config.fillDefaults()
	if err := CheckURL(config.Issuer); err != nil {
		return nil, fmt.Errorf("cannot let operators log in: oidc_issuer: %w", err)
	}
	if config.ClientID == "" {
		return nil, errors.New("cannot let operators log in: oidc_client_id is required")
	}
	if _, err := ReadGroups(config.GroupsFile); err != nil {
		return nil, fmt.Errorf("cannot let operators log in: oidc_groups_file: %w", err)
	}
	if !slices.Contains(config.Scopes, oidc.ScopeOpenID) {
		return nil, errors.New("cannot let operators log in: oidc_scopes must have openid")
	}
	own := secret{client: config.ClientID, file: config.SecretFile, auth: config.Auth}
	if own.file != "" {
		if err := own.check(); err != nil {
			return nil, fmt.Errorf("cannot let operators log in: %w", err)
		}
	}
	client := Client()
	client.Transport = &spaced{next: client.Transport, every: config.Spacing}
	from := newIssuer(config, client)
	from.hides = own.echoed
	return &Login{config: config, issuer: from, secret: own,
		speaks: speaking(), calls: make(chan struct{}, maxCalls)}, nil
}

func newIssuer(config Config, client *http.Client) *issuer {
	return &issuer{url: config.Issuer, client: client, now: config.Now}
}

func (c *Config) fillDefaults() {
	if c.GroupsClaim == "" {
		c.GroupsClaim = "groups"
	}
	if c.NameClaim == "" {
		c.NameClaim = "email"
	}
	if len(c.Scopes) == 0 {
		c.Scopes = []string{oidc.ScopeOpenID, "email", "profile", "groups"}
	}
	if c.Spacing == 0 {
		c.Spacing = spacing
	}
	if c.Patience == 0 {
		c.Patience = patience
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Settings are what a client needs to get an ID token.
func (l *Login) Settings() (issuer, clientID string, scopes []string) {
	return l.config.Issuer, l.config.ClientID, l.config.Scopes
}

// IsPerson says whether an operator's name is that of somebody who logs in.
func IsPerson(operator string) bool { return inventory.IsPerson(operator) }
