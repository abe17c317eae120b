// Command provider is an identity provider with four people, for the tests of logins: the server of
// zitadel/oidc and the pages of its example. Its only argument is the port on loopback.
package main

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net/http"
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
	return public{client}, nil
}

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
	provider := exampleop.SetupServer(issuer,
		accounts{storage.NewStorage(storage.NewUserStore(issuer))},
		slog.New(slog.NewTextHandler(os.Stderr, nil)), false, op.WithAllowInsecure())
	server := &http.Server{Addr: address, Handler: provider, ReadHeaderTimeout: time.Minute}
	log.Fatal(server.ListenAndServe())
}
