//go:build lab

package ec2lab_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/ec2"
)

// lab is an EC2 of the test's own.
type lab struct {
	nspawn *nspawn.Provider
	server *ec2lab.Server
	url    string
}

// documented is the policy of docs/ec2.md, for a fleet.
func documented(t *testing.T, fleet string) ec2lab.Access {
	t.Helper()
	policy, err := ec2.Policy(ec2.Rights{Fleet: fleet, Region: ec2lab.Region})
	if err != nil {
		t.Fatal(err)
	}
	return ec2lab.Access{Policy: string(policy)}
}

func newLab(t *testing.T, name string, behaviour ec2lab.Behaviour) *lab {
	t.Helper()
	name = fmt.Sprintf("ec2-%s-%d", name, os.Getpid())
	short := 50 * time.Millisecond
	p, err := nspawn.New(nspawn.Config{Name: name,
		Dir: filepath.Join(os.TempDir(), "understudy-"+name), Zones: ec2lab.Zones(),
		DevicePattern: ec2lab.DevicePattern,
		Images: []nspawn.ImageSpec{{Name: "test-masked", Suite: "trixie",
			MaskUnits:     []string{"mariadb.service"},
			DefaultVolume: &provider.DefaultVolume{SizeBytes: 1 << 30, Filesystem: "ext4"}}},
		PoolBytes: 16 << 30, Delays: nspawn.Delays{Snapshot: time.Second, VolumeCreate: short,
			Attach: short, Delete: short, MachineStart: short}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Sweep(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := p.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.BuildImage(t.Context(), "trixie", func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	server, err := ec2lab.New(ec2lab.Config{Lab: p, Behaviour: behaviour})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(server)
	t.Cleanup(front.Close)
	return &lab{p, server, front.URL}
}

func (l *lab) config() ec2.Config {
	return ec2.Config{Region: ec2lab.Region, Endpoint: l.url, Subnets: ec2lab.Subnets(),
		SealMetadata: true, Fleet: fleet, Consistency: 2 * time.Second}
}

func (l *lab) provider(t *testing.T) *ec2.Provider {
	t.Helper()
	p, err := ec2.New(t.Context(), l.config())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// labMachine is the lab's own ID of an instance.
func labMachine(id string) string { return strings.Replace(id, "i-0ec2a", "i-", 1) }
