package enroll_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// imds is the metadata service of an instance: with sessions, and a document of now.
type imds struct {
	*httptest.Server

	document, signed atomic.Value
	// moved answers with another address, off with an error.
	moved, off atomic.Bool
	calls      atomic.Int32
}

func newIMDS(t *testing.T) *imds {
	t.Helper()
	m := &imds{}
	m.set("first")
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.Close)
	return m
}

func (m *imds) set(start string) { m.document.Store(start); m.signed.Store("signed " + start) }

func (m *imds) serve(w http.ResponseWriter, r *http.Request) {
	m.calls.Add(1)
	const session = "X-aws-ec2-metadata-token"
	switch {
	case m.off.Load():
		http.Error(w, "", http.StatusForbidden)
	case m.moved.Load():
		http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" &&
		r.Header.Get(session+"-ttl-seconds") != "":
		_, _ = w.Write([]byte("session"))
	case r.Header.Get(session) != "session":
		http.Error(w, "", http.StatusUnauthorized)
	case r.URL.Path == "/latest/dynamic/instance-identity/document":
		_, _ = w.Write([]byte(m.document.Load().(string)))
	case r.URL.Path == "/latest/dynamic/instance-identity/rsa2048":
		_, _ = w.Write([]byte(m.signed.Load().(string)))
	default:
		http.NotFound(w, r)
	}
}

// attests puts a join file without a token on the machine, which has that metadata service.
func (h *host) attests(m *imds) *enroll.Enroller {
	h.t.Helper()
	h.give("", func(f *identity.JoinFile) { f.Attest = identity.AttestEC2 })
	h.plane.set(func() {
		for _, start := range []string{"first", "second"} {
			if _, known := h.plane.tokens["signed "+start]; !known {
				h.plane.tokens["signed "+start] = ""
			}
		}
	})
	return h.start(func(c *enroll.Config) { c.Metadata = m.URL })
}

func TestAnAttestedMachineJoinsOnceAndStays(t *testing.T) {
	t.Parallel()
	h, m := newHost(t, newPlane(t)), newIMDS(t)
	e := h.attests(m)
	if name, err := e.Ensure(patience(t)); err != nil || name != "db-1" {
		t.Fatalf("%q %v", name, err)
	}
	h.check(e)
	serial := h.serial(e)
	// Killed before the join file was removed, it does not join again.
	again := h.attests(m)
	if _, err := again.Ensure(patience(t)); err != nil || h.serial(again) != serial {
		t.Errorf("joined again: %v", err)
	}
	h.check(again)
	// The next start of the machine, with a join file, is another one.
	m.set("second")
	restarted := h.attests(m)
	if _, err := restarted.Ensure(patience(t)); err != nil || h.serial(restarted) == serial {
		t.Errorf("did not join again: %v", err)
	}
	h.check(restarted)
}

func TestALostAnswerToAnAttestedMachineCostsNothing(t *testing.T) {
	t.Parallel()
	h, m := newHost(t, newPlane(t)), newIMDS(t)
	lost := 0
	h.plane.after = func() error {
		if lost++; lost <= 2 {
			return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE, "lost")
		}
		return nil
	}
	e := h.attests(m)
	if _, err := e.Ensure(patience(t)); err != nil {
		t.Fatal(err)
	}
	h.check(e)
	if len(h.plane.keys) != 3 || h.plane.keys[0] != h.plane.keys[2] {
		t.Errorf("%d tries, not all with one key", len(h.plane.keys))
	}
}

// What does not come from the metadata service itself is not taken, and a host with an identity
// goes on with it.
func TestAMachineWithoutAMetadataService(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*imds){
		"off":     func(m *imds) { m.off.Store(true) },
		"moved":   func(m *imds) { m.moved.Store(true) },
		"nothing": func(m *imds) { m.signed.Store("") },
		"huge":    func(m *imds) { m.signed.Store(strings.Repeat("x", 20000)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, m := newHost(t, newPlane(t)), newIMDS(t)
			change(m)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := h.attests(m).Ensure(ctx)
			if err == nil || !strings.Contains(err.Error(), "what EC2 signs") {
				t.Errorf("%v", err)
			}
			if m.calls.Load() < 2 {
				t.Errorf("asked %d times", m.calls.Load())
			}
			h.joined("t1")
			e := h.attests(m)
			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if name, err := e.Ensure(ctx); err != nil || name != "db-1" {
				t.Errorf("%q %v", name, err)
			}
			if _, err := os.Stat(h.path("join.json")); err != nil {
				t.Errorf("the join file is gone: %v", err)
			}
		})
	}
}
