package ec2

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/attest"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// imds asks the metadata service as the machine at that address does; session may be "none".
func (f *fake) imds(t *testing.T, address, path, session string) (status int, body []byte) {
	t.Helper()
	ask := func(method, path, header, value string) (int, []byte) {
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.RemoteAddr = address + ":40000"
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		f.server.MetadataService().ServeHTTP(w, r)
		return w.Code, w.Body.Bytes()
	}
	if session == "" {
		_, got := ask(http.MethodPut, "/latest/api/token",
			"X-aws-ec2-metadata-token-ttl-seconds", "60")
		session = string(got)
	}
	return ask(http.MethodGet, path, "X-aws-ec2-metadata-token", session)
}

const signedPath = "/latest/dynamic/instance-identity/rsa2048"

// attestor proves machines of the fake.
func (f *fake) attestor(t *testing.T) *attest.EC2 {
	t.Helper()
	file, err := f.server.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := attest.Certificates(file)
	if err != nil {
		t.Fatal(err)
	}
	e, err := attest.NewEC2(attest.EC2Config{Accounts: []string{ec2lab.Account},
		Region: ec2lab.Region, Certificates: trusted, Machines: f,
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A machine's life as its metadata service tells it, and as the control plane takes it.
func TestMachinesAreAttested(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{SealMetadata: true}, ec2lab.Behaviour{})
		m := f.machine(t, "db1")
		other := f.machine(t, "db2")
		e := f.attestor(t)
		prove := func(signed []byte) (inventory.Attested, error) {
			return e.Attest(context.WithoutCancel(t.Context()), signed, m.Address)
		}
		refused := func(what string, signed []byte, word string) {
			t.Helper()
			if _, err := prove(signed); err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v, and not %q", what, err, word)
			}
		}
		_, first := f.imds(t, m.Address, signedPath, "")
		got, err := prove(first)
		if err != nil || got.Machine != m.ID || !got.FirstStart() {
			t.Fatalf("%+v %v", got, err)
		}
		_, others := f.imds(t, other.Address, signedPath, "")
		refused("another machine's document", others, "comes from")
		if status, _ := f.imds(t, m.Address, signedPath, "none"); status != 401 {
			t.Errorf("without a session: %d", status)
		}
		if status, _ := f.imds(t, "10.9.9.9", signedPath, "x"); status != 403 {
			t.Errorf("from no machine: %d", status)
		}

		time.Sleep(6 * time.Minute)
		refused("six minutes later", first, "ago")
		must(t, f.RebootMachine(t.Context(), m.ID))
		_, rebooted := f.imds(t, m.Address, signedPath, "")
		refused("after a reboot", rebooted, "ago")
		must(t, f.StopMachine(t.Context(), m.ID))
		must(t, f.StartMachine(t.Context(), m.ID))
		_, second := f.imds(t, m.Address, signedPath, "")
		again, err := prove(second)
		if err != nil || again.FirstStart() || again.Key() == got.Key() ||
			bytes.Equal(first, second) {
			t.Errorf("after a stop and a start: %+v %v", again, err)
		}
		must(t, f.SealMachine(t.Context(), m.ID))
		if status, _ := f.imds(t, m.Address, signedPath, "x"); status != 403 {
			t.Errorf("sealed: %d", status)
		}
		must(t, f.TerminateMachine(t.Context(), m.ID))
		refused("terminated", second, "terminated")
	})
}

func (f *fake) machine(t *testing.T, name string) provider.Machine {
	t.Helper()
	m, err := f.CreateMachine(t.Context(), provider.CreateMachineRequest{ClientToken: name,
		Name: name, Image: image})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
