package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// fresh is how long what the provider publishes is believed. A key that it takes back is good for
// so long; one that is new is looked up at once.
const fresh = 5 * time.Minute

// issuer is what the identity provider publishes: its configuration and its keys.
type issuer struct {
	url    string
	client *http.Client
	now    func() time.Time
	hides  func(texts ...string) bool // says whether the client's secret is in one; may be nil
	asking singleflight.Group

	mu   sync.Mutex
	keys oidc.KeySet
	flow endpoints
	read time.Time
}

// endpoints are the addresses of the device flow; empty where the provider has none.
type endpoints struct{ device, token string }

// endpoints are those that were last read; call keySet before.
func (i *issuer) endpoints() endpoints {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.flow
}

// keySet is the provider's keys, read again when they are old. Calls share a request, which goes on
// when one of them ends.
func (i *issuer) keySet(ctx context.Context) (oidc.KeySet, error) {
	i.mu.Lock()
	known, age := i.keys, i.now().Sub(i.read)
	i.mu.Unlock()
	if known != nil && age >= 0 && age < fresh {
		return known, nil
	}
	asked := i.asking.DoChan("discover", func() (any, error) { return i.discover() })
	select {
	case <-ctx.Done():
		return nil, i.unreachable(ctx.Err())
	case found := <-asked:
		if found.Err != nil {
			return nil, i.unreachable(found.Err)
		}
		keys, _ := found.Val.(oidc.KeySet)
		return keys, nil
	}
}

// discover reads the configuration. It must be of the issuer itself.
func (i *issuer) discover() (oidc.KeySet, error) {
	ctx := oidc.ClientContext(context.Background(), i.client)
	provider, err := oidc.NewProvider(ctx, i.url)
	if err != nil {
		return nil, err
	}
	var published struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&published); err != nil {
		return nil, err
	}
	if err := CheckURL(published.Keys); err != nil {
		return nil, fmt.Errorf("the address of its keys: %w", err)
	}
	client := *i.client
	client.Transport = signing{i.client.Transport}
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(ctx, &client), published.Keys)
	i.mu.Lock()
	i.keys, i.read = keys, i.now()
	i.flow = endpoints{device: provider.Endpoint().DeviceAuthURL,
		token: provider.Endpoint().TokenURL}
	i.mu.Unlock()
	return keys, nil
}

// unreachable is an error of the provider. Its words are clipped: it says what it wants.
func (i *issuer) unreachable(err error) error {
	options := []errs.Option{errs.WithHint("try again once the identity provider answers; " +
		"certificates in force go on until they end, and root can create operators on the " +
		"control plane's host")}
	if errors.Is(err, errTooSoon) {
		options = append(options, errs.Retry(spacing))
	}
	text := err.Error()
	if i.hides != nil && i.hides(text) {
		text = errEchoed.Error()
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_ISSUER_UNREACHABLE,
		fmt.Sprintf("the identity provider %s cannot be used: %s", i.url, clip(text)),
		options...)
}

// clip makes one short line of what somebody else wrote.
func clip(text string) string {
	const most = 200
	runes := []rune(clean(text))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most]) + "…"
}

// noting is a key set that notes why the keys could not be had.
type noting struct {
	keys oidc.KeySet
	away error
}

// VerifySignature is that of the keys.
func (n *noting) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := n.keys.VerifySignature(ctx, token)
	if err != nil && (strings.HasPrefix(err.Error(), "fetching keys") || ctx.Err() != nil) {
		n.away = err
	}
	return payload, err
}
