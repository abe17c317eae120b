package login_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/controlplane/internal/login/logintest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const discovery = "/.well-known/openid-configuration"

func (d *desk) unreachable(what, token string) {
	d.t.Helper()
	_, err := d.verify(token)
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_ISSUER_UNREACHABLE ||
		errs.KindOf(err) != errs.Unavailable || errs.HintOf(err).String() == "" ||
		len(err.Error()) > 500 {
		d.t.Errorf("%s: %.600v", what, err)
	}
}

// The provider changes its keys: a new one counts at once, one that it took back for five minutes.
func TestKeysAreFollowed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	d := newDesk(t, func(c *login.Config) { c.Now = clock })
	old := d.key.Sign(d.with(nil))
	if _, err := d.verify(old); err != nil {
		t.Fatal(err)
	}
	next := logintest.NewKey(t, "k2", "ES256")
	d.issuer.Publish(next)
	if _, err := d.verify(next.Sign(d.with(nil))); err != nil {
		t.Errorf("a new key: %v", err)
	}
	d.refuses("a key that was taken back, after the new one", old)
	d.issuer.Publish()
	mu.Lock()
	now = now.Add(6 * time.Minute)
	mu.Unlock()
	d.refuses("a key that was taken back", next.Sign(d.with(nil)))
}

// Whatever the provider answers, the control plane neither hangs nor grows, and says whose fault it
// is.
func TestAProviderThatMisbehaves(t *testing.T) {
	t.Parallel()
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
		}
	}
	flood := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		block := bytes.Repeat([]byte(" "), 1<<20)
		for range 200 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	answers := map[string]http.HandlerFunc{
		"an error":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"not found": http.NotFound,
		"no JSON":   text("<html>" + strings.Repeat("\x1b[31m", 1000)),
		"nothing":   text(""),
		"a list":    text("[]"),
		"megabytes": flood,
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		},
		"long headers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		},
		"an end in the middle": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "{")
		},
	}
	for what, handler := range answers {
		for _, path := range []string{discovery, "/keys"} {
			d := newDesk(t)
			d.issuer.Instead(path, handler)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d.unreachable(what+" at "+path, d.key.Sign(d.with(nil)))
			runtime.ReadMemStats(&after)
			// other tests of the package run beside it
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
				t.Errorf("%s at %s: grown by %d bytes", what, path, grown)
			}
			d.issuer.Instead(path, nil)
			waitUntil(t, func() bool {
				_, err := d.verify(d.key.Sign(d.with(nil)))
				return err == nil
			})
		}
	}
	for what, document := range map[string]string{
		"another issuer": `{"issuer": "https://evil.example", "jwks_uri": "%s/keys"}`,
		"keys elsewhere": `{"issuer": "%[1]s", "jwks_uri": "http://id.example/keys"}`,
		"keys in a file": `{"issuer": "%[1]s", "jwks_uri": "file:///etc/passwd"}`,
		"no keys":        `{"issuer": "%[1]s"}`,
	} {
		d := newDesk(t)
		d.issuer.Instead(discovery, text(fmt.Sprintf(document, d.issuer.URL)))
		d.unreachable(what, d.key.Sign(d.with(nil)))
	}
}

func waitUntil(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); {
		if time.Now().After(end) {
			t.Fatal("it does not come to pass")
		}
	}
}

// A provider that hangs holds no caller longer than the caller wants, and many callers make one
// request.
func TestAProviderThatHangs(t *testing.T) {
	t.Parallel()
	for _, path := range []string{discovery, "/keys"} {
		d := newDesk(t)
		release := make(chan struct{})
		d.issuer.Instead(path, func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
		token := d.key.Sign(d.with(nil))
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				_, err := d.Verify(ctx, token, d.proved)
				if errs.ReasonOf(err) != errorsv1.Reason_REASON_ISSUER_UNREACHABLE {
					t.Errorf("%s: %v", path, err)
				}
			})
		}
		waitUntil(t, func() bool { return d.issuer.Hits(path) > 0 })
		cancel()
		all.Wait()
		if hits := d.issuer.Hits(path); hits != 1 {
			t.Errorf("%s: asked %d times", path, hits)
		}
		close(release)
	}
}

// Tokens of unknown keys make us ask the provider no more often than once in a while.
func TestStrangersDoNotMakeUsAsk(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *login.Config) { c.Spacing = time.Hour })
	if _, err := d.verify(d.key.Sign(d.with(nil))); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		stranger := d.key
		stranger.ID = fmt.Sprintf("k%d", i+2)
		_, err := d.verify(stranger.Sign(d.with(nil)))
		if after, said := errs.RetryOf(err); errs.KindOf(err) != errs.Unavailable || !said ||
			after <= 0 {
			t.Fatal(err)
		}
	}
	if _, err := d.verify(d.key.Sign(d.with(nil))); err != nil {
		t.Errorf("a known key: %v", err)
	}
	if a, b := d.issuer.Hits(discovery), d.issuer.Hits("/keys"); a != 1 || b != 1 {
		t.Errorf("asked %d and %d times", a, b)
	}
}

// A provider that is down is named, and is used again once it answers.
func TestAProviderThatIsDown(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	token := d.key.Sign(d.with(nil))
	d.issuer.Close()
	d.unreachable("down", token)
}
