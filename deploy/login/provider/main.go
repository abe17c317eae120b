// Command provider is an identity provider with four people, for the tests of logins: the server of
// zitadel/oidc and the pages of its example. Its only argument is the port on loopback.
package main

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// person is an account; the name is its subject.
type person struct {
	verified bool
	groups   []string
}

var people = map[string]person{
	"alice": {verified: true, groups: []string{"dba", "staff"}},
	"bob":   {verified: true, groups: []string{"shop-team"}},
	"carol": {verified: true, groups: []string{"staff"}},
	"dave":  {groups: []string{"dba"}},
}

// accounts is the example's memory, with the people of here.
type accounts struct{ *storage.Storage }

func (accounts) CheckUsernamePasswordSimple(name, password string) error {
	if _, known := people[name]; !known || password != "of "+name {
		return errors.New("wrong name or password")
	}
	return nil
}

// SetUserinfoFromRequest says what ID tokens have of a person.
func (accounts) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo,
	token op.IDTokenRequest, _ []string) error {
	who := people[token.GetSubject()]
	info.Subject = token.GetSubject()
	info.Email = info.Subject + "@example.com"
	info.EmailVerified = oidc.Bool(who.verified)
	info.AppendClaims("groups", who.groups)
	return nil
}

func (a accounts) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := a.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	if _, has := secretly[id]; has {
		return withSecret{public{client}}, nil
	}
	return public{client}, nil
}

// secretly are the clients that have a secret, and whether they show it in the request.
var secretly = map[string]bool{"understudy-basic": false, "understudy-post": true}

// withSecret is a client with a secret.
type withSecret struct{ public }

// inRequests takes a secret in the request from the clients that show it there, and from no other.
// The library knows that way for other flows alone: it compares the secret, as one in the header.
func inRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret := r.PostFormValue("client_id"), r.PostFormValue("client_secret")
		_, _, inHeader := r.BasicAuth()
		if inHeader && secret != "" || secretly[id] && inHeader || !secretly[id] && secret != "" {
			http.Error(w, `{"error": "invalid_client"}`, http.StatusUnauthorized)
			return
		}
		if secret != "" {
			r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		}
		next.ServeHTTP(w, r)
	})
}

func (withSecret) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (withSecret) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }

// public is a client without a secret, whose ID tokens have all that is asked for.
type public struct{ op.Client }

func (public) ApplicationType() op.ApplicationType  { return op.ApplicationTypeNative }
func (public) AuthMethod() oidc.AuthMethod          { return oidc.AuthMethodNone }
func (public) IDTokenLifetime() time.Duration       { return 20 * time.Minute }
func (public) IDTokenUserinfoClaimsAssertion() bool { return true }
func (public) IsScopeAllowed(scope string) bool     { return scope == "groups" }

func main() {
	address := "127.0.0.1:" + os.Args[1]
	issuer := "http://" + address
	storage.RegisterClients(storage.DeviceClient("understudy", ""))
	for id := range secretly {
		storage.RegisterClients(storage.DeviceClient(id, "the client's+secret"))
	}
	provider := exampleop.SetupServer(issuer,
		accounts{storage.NewStorage(storage.NewUserStore(issuer))},
		slog.New(slog.NewTextHandler(os.Stderr, nil)), false, op.WithAllowInsecure())
	server := &http.Server{Addr: address, Handler: inRequests(provider),
		ReadHeaderTimeout: time.Minute}
	log.Fatal(server.ListenAndServe())
}
