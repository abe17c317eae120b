package login_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/login"
)

// hangs has a path of the provider answer once it is let go.
func (d *desk) hangs(t *testing.T, path string) (asked chan struct{}, release func()) {
	t.Helper()
	asked = make(chan struct{}, 100)
	end := make(chan struct{})
	d.issuer.Instead(path, func(_ http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-end
	})
	release = sync.OnceFunc(func() { close(end) })
	t.Cleanup(release)
	return asked, release
}

// A request with the secret has an end, whatever the provider waits with.
func TestAProviderThatHangsIsLeftInTime(t *testing.T) {
	t.Parallel()
	if limit := login.Client().Timeout; limit <= 0 || limit > 10*time.Second {
		t.Errorf("a client waits for %s", limit)
	}
	for _, path := range []string{"/device/code", discovery} {
		d := newTeller(t, login.AuthBasic)
		file := write(t, hush)
		d.Login = d.anew(t, func(c *login.Config) {
			c.SecretFile, c.Patience = file, 50*time.Millisecond
		})
		d.hangs(t, path)
		_, err := d.Begin(t.Context(), "n")
		word := "it does not answer in time"
		if path == discovery { // which others may wait for as well, and goes on
			word = "cannot be used: context deadline exceeded"
		}
		d.refused(t, path, err, word)
	}
}

// A provider that hangs has 16 requests at a time, and each one that ends makes room.
func TestAProviderThatHangsHasFewRequests(t *testing.T) {
	t.Parallel()
	d := newTeller(t, login.AuthBasic)
	asked, release := d.hangs(t, "/device/code")
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() { _, _ = d.Begin(t.Context(), "n") })
	}
	for range 16 {
		<-asked
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := d.Begin(ctx, "n")
	d.refused(t, "one more", err, "too many others log in")
	release()
	all.Wait()
	d.issuer.Instead("/device/code", codeOf(nil))
	for range 17 {
		if _, err := d.Begin(t.Context(), "n"); err != nil {
			t.Fatalf("afterwards: %v", err)
		}
	}
}
