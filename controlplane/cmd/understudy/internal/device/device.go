// Package device gets an ID token from an identity provider by the device flow (RFC 8628): the user
// confirms a code in a browser, on whichever computer.
package device

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// maxWait is how long a code is waited for, whatever the provider says.
	maxWait = 30 * time.Minute
	// maxInterval bounds the pause between two questions, in seconds.
	maxInterval = 60
	// backOff is added to the pause after an answer that is none, as after slow_down.
	backOff = 5
)

// Issuer is the identity provider, and what is asked of it.
type Issuer struct {
	// URL is its address.
	URL string
	// ClientID is whom the ID token is to be for.
	ClientID string
	// Scopes are what is asked for.
	Scopes []string
	// Nonce is to be in the ID token.
	Nonce string
}

// Code is what the user confirms.
type Code struct {
	// Address is where, Text what to enter there.
	Address, Text string
	// Whole is an address that has the code in it; empty when the provider gives none.
	Whole string
	// Ends is until when.
	Ends time.Time

	issuer Issuer
	config oauth2.Config
	client *http.Client
	answer *oauth2.DeviceAuthResponse
	// through is set where the control plane asks the provider.
	through *through
}

// Begin asks the provider for a code.
func Begin(ctx context.Context, issuer Issuer) (*Code, error) {
	c := &Code{issuer: issuer, client: login.Client()}
	if err := login.CheckURL(issuer.URL); err != nil {
		return nil, c.unusable(err)
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, c.client), issuer.URL)
	if err != nil {
		return nil, c.unusable(err)
	}
	endpoint := provider.Endpoint()
	// The client has no secret: it says who it is in the request.
	endpoint.AuthStyle = oauth2.AuthStyleInParams
	if endpoint.DeviceAuthURL == "" {
		return nil, c.unusable(errors.New("it has no device flow"))
	}
	for _, address := range []string{endpoint.DeviceAuthURL, endpoint.TokenURL} {
		if err := login.CheckURL(address); err != nil {
			return nil, c.unusable(err)
		}
	}
	c.config = oauth2.Config{ClientID: issuer.ClientID, Scopes: issuer.Scopes, Endpoint: endpoint}
	if c.answer, err = c.authorize(ctx); err != nil {
		return nil, err
	}
	return c, c.read()
}

// authorize asks for the code. The library does not end its request with ctx.
func (c *Code) authorize(ctx context.Context) (*oauth2.DeviceAuthResponse, error) {
	type result struct {
		answer *oauth2.DeviceAuthResponse
		err    error
	}
	asked := make(chan result, 1)
	go func() {
		answer, err := c.config.DeviceAuth(c.with(ctx),
			oauth2.SetAuthURLParam("nonce", c.issuer.Nonce))
		asked <- result{answer, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case got := <-asked:
		var answered *oauth2.RetrieveError
		if errors.As(got.err, &answered) && answered.ErrorCode != "" {
			return nil, c.refused(answered)
		}
		if got.err == nil && got.answer == nil {
			got.err = errors.New("it answered nothing")
		}
		if got.err != nil {
			return nil, c.unusable(got.err)
		}
		return got.answer, nil
	}
}

// read takes what the provider answered within bounds.
func (c *Code) read() error {
	a := c.answer
	c.Address, c.Text, c.Whole = a.VerificationURI, show.Clean(a.UserCode),
		a.VerificationURIComplete
	if err := login.CheckURL(c.Address); err != nil {
		return c.unusable(err)
	}
	if login.CheckURL(c.Whole) != nil {
		c.Whole = ""
	}
	if a.DeviceCode == "" || c.Text == "" || len(c.Text) > 100 {
		return c.unusable(errors.New("it gave no code"))
	}
	latest := time.Now().Add(maxWait)
	if a.Expiry.IsZero() || a.Expiry.After(latest) {
		a.Expiry = latest
	}
	c.Ends = a.Expiry
	a.Interval = min(max(a.Interval, 0), maxInterval)
	return nil
}

// Wait is the ID token, once the user has confirmed the code. An answer that is none is waited
// over: a provider restarts, and a laptop changes networks. Note hears of it.
func (c *Code) Wait(ctx context.Context, note func(problem string)) (string, error) {
	if c.through != nil {
		return c.through.wait(ctx, c, note)
	}
	for {
		token, err := c.config.DeviceAccessToken(c.with(ctx), c.answer)
		if err == nil {
			idToken, _ := token.Extra("id_token").(string)
			if idToken == "" {
				return "", c.unusable(errors.New("it gave no ID token for the scope openid"))
			}
			return idToken, nil
		}
		var answered *oauth2.RetrieveError
		isAnswer := errors.As(err, &answered)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case isAnswer && answered.ErrorCode == "expired_token",
			!time.Now().Before(c.Ends.Add(-time.Second)):
			return "", c.expired()
		case isAnswer && !passes(answered):
			return "", c.refused(answered)
		}
		note(c.unusable(err).Error())
		if c.answer.Interval == 0 {
			c.answer.Interval = backOff
		}
		c.answer.Interval = min(c.answer.Interval+backOff, maxInterval)
	}
}

// passes says whether an error is one that another try may not meet.
func passes(answered *oauth2.RetrieveError) bool {
	switch answered.ErrorCode {
	case "", "temporarily_unavailable", "server_error":
		return true
	}
	return answered.Response != nil && (answered.Response.StatusCode >= 500 ||
		answered.Response.StatusCode == http.StatusTooManyRequests)
}

func (c *Code) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c.client)
}

func (c *Code) unusable(err error) error {
	text := []rune(show.Clean(err.Error()))
	if len(text) > 200 {
		text = append(text[:200], '…')
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_ISSUER_UNREACHABLE,
		fmt.Sprintf("the identity provider %s cannot be used from here: %s", c.issuer.URL,
			string(text)),
		errs.WithHint("see that this computer reaches it, and try again; the control plane is "+
			"fine, and certificates in force go on until they end"))
}

func (c *Code) refused(answered *oauth2.RetrieveError) error {
	why := show.Clean(answered.ErrorCode)
	if answered.ErrorDescription != "" {
		why += ": " + show.Clean(answered.ErrorDescription)
	}
	if runes := []rune(why); len(runes) > 200 {
		why = string(runes[:200]) + "…"
	}
	if answered.ErrorCode == "access_denied" {
		return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ID_TOKEN_REFUSED,
			"the login was refused at the identity provider", errs.WithHint(
				"log in again, and confirm the code with the account that you want",
				errs.Call("Login")))
	}
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ID_TOKEN_REFUSED,
		fmt.Sprintf("the identity provider %s refuses the client %s: %s", c.issuer.URL,
			c.issuer.ClientID, why),
		errs.WithHint("have it allow the device flow, and the scopes of oidc_scopes, to that "+
			"client, which has no secret"))
}

func (c *Code) expired() error {
	return errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_ID_TOKEN_REFUSED,
		"nobody confirmed the code in time", errs.WithHint("log in again", errs.Call("Login")))
}
