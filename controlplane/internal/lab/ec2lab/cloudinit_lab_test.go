//go:build lab

package ec2lab_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/ec2"
)

// withCloudInit is Debian's cloud-init in an image of the lab.
var withCloudInit = nspawn.ImageSpec{Name: "cloud-init", Suite: "trixie",
	Packages:  []string{"cloud-init", "openssh-server"},
	MaskUnits: []string{"mariadb.service", "ssh.service"}}

// instanceFiles make a host of the lab an instance of EC2 to cloud-init, which knows one by its
// firmware, or by this file of Xen's, as a container shows no firmware. What is asked of the
// address of the metadata service goes to the box; its answer shows the host's own address.
// dhcpcd is what cloud-init's first stage would look for the network with, which the lab has set up
// already: without it the second stage asks the metadata service.
func instanceFiles(metadata string) map[string]nspawn.File {
	unit := func(text string) nspawn.File { return nspawn.File{Content: []byte(text)} }
	return map[string]nspawn.File{
		"/etc/cloud/cloud.cfg.d/90-lab.cfg": unit("datasource_list: [Ec2, None]\n" +
			"network: {config: disabled}\n"),
		"/usr/sbin/dhcpcd": {Content: []byte("#!/bin/false\n"), Mode: 0o755},
		"/etc/systemd/system/lab-instance.service": unit(`[Unit]
DefaultDependencies=no
Before=cloud-init-main.service cloud-init-local.service lab-metadata.socket

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -e /etc/lab-instance
`),
		"/etc/lab-instance": unit(`mkdir /run/sys
mount -t tmpfs tmpfs /run/sys
for dir in block bus class dev devices firmware fs kernel module power; do
	mkdir /run/sys/$dir
	mount --rbind /sys/$dir /run/sys/$dir
done
mkdir /run/sys/hypervisor
echo ec2e1916-9099-7caf-fd21-012345abcdef >/run/sys/hypervisor/uuid
mount --rbind /run/sys /sys
`),
		"/etc/systemd/system/lab-metadata.socket": unit(`[Unit]
DefaultDependencies=no
Before=cloud-init-main.service cloud-init-local.service

[Socket]
ListenStream=169.254.169.254:80
`),
		"/etc/systemd/system/lab-metadata.service": unit(`[Unit]
DefaultDependencies=no

[Service]
ExecStart=/usr/lib/systemd/systemd-socket-proxyd ` + metadata + "\n"),
	}
}

// metadataFront answers each host for the instance that it is at the moment.
type metadataFront struct {
	mu       sync.Mutex
	services map[string]http.Handler // by the host's address
	as       map[string]string       // the instance's address
}

func (f *metadataFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	f.mu.Lock()
	service, as := f.services[host], f.as[host]
	f.mu.Unlock()
	if service == nil {
		http.NotFound(w, r)
		return
	}
	r.RemoteAddr = net.JoinHostPort(as, "40000")
	service.ServeHTTP(w, r)
}

// is has a host be an instance.
func (f *metadataFront) is(host string, m *model, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services[host], f.as[host] = m.server.MetadataService(), address
}

// newCloudInitLab is a lab whose hosts run cloud-init.
func newCloudInitLab(t *testing.T) (*nspawn.Provider, *metadataFront) {
	t.Helper()
	name := fmt.Sprintf("ec2-cloudinit-%d", os.Getpid())
	cfg := nspawn.Config{Name: name, Dir: filepath.Join(os.TempDir(), "understudy-"+name),
		Images: []nspawn.ImageSpec{withCloudInit}, PoolBytes: 8 << 30,
		LoopbackAddresses: []netip.Addr{netip.MustParseAddr("169.254.169.254")}}
	open := func() *nspawn.Provider {
		p, err := nspawn.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := open()
	t.Cleanup(func() {
		if err := p.Sweep(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := p.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.BuildImage(t.Context(), withCloudInit.Name,
		func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	box, err := p.HostAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(box, "0"))
	if err != nil {
		t.Fatal(err)
	}
	front := &metadataFront{services: map[string]http.Handler{}, as: map[string]string{}}
	server := &http.Server{Handler: front, ReadHeaderTimeout: time.Minute}
	t.Cleanup(func() { server.Close() })
	go func() { _ = server.Serve(listener) }() // it ends with the test
	cfg.Files = instanceFiles(listener.Addr().String())
	cfg.EnableUnits = []string{"lab-instance.service", "lab-metadata.socket"}
	return open(), front
}

// realHost is a host of the lab that runs cloud-init.
type realHost struct {
	lab   *nspawn.Provider
	front *metadataFront
	id    string
	keys  string // host keys after the last boot
}

// seen is what a boot left on a host.
type seen struct {
	ec2lab.Booted
	// JoinMode is the mode and the owner of the join file.
	JoinMode string
	// Keys says that there are other host keys than before, User that the default user is there,
	// Faults how often cloud-init called the user data invalid.
	Keys, User bool
	Faults     string
}

// look shows as lines what cloud-init did, once its boot has come to an end.
const look = `[ ! -e /run/rebooting ] && [ -e /run/cloud-init/result.json ] || exit 1
cat /var/lib/cloud/data/instance-id
hostname
sha256sum /etc/ssh/ssh_host_*_key | sha256sum
id -un debian 2>/dev/null || echo
grep -c 'failed schema validation' /var/log/cloud-init.log
stat -c '%a %U:%G' $0 2>/dev/null || echo
cat $0 2>/dev/null || echo
`

// forget takes away what cloud-init would make again, as the agent does with its join file.
const forget = `set -e
touch /run/rebooting
rm -f $0
! id debian 2>/dev/null || userdel debian
`

func (h *realHost) run(t *testing.T, script string) (string, error) {
	t.Helper()
	return h.lab.Exec(t.Context(), h.id,
		nspawn.Command{Argv: []string{"sh", "-c", script, ec2.JoinPath}})
}

// boot boots the host as an instance of the model. One that is of an AMI has the very same root.
func (h *realHost) boot(t *testing.T, m *model, b aBoot) seen {
	t.Helper()
	as, err := m.GetMachine(t.Context(), m.ids[b.of])
	if err != nil {
		t.Fatal(err)
	}
	if h.id == "" {
		made, err := h.lab.CreateMachine(t.Context(), provider.CreateMachineRequest{
			ClientToken: b.of, Name: "ip-10-0-0-1", Image: withCloudInit.Name})
		if err != nil {
			t.Fatal(err)
		}
		h.id = made.ID
		h.front.is(made.Address, m, as.Address)
	} else {
		h.again(t, m, as.Address, b.clean)
	}
	out := settled(t, "booted", func() (string, error) { return h.run(t, look) },
		func(string) bool { return true })
	lines := strings.SplitN(out, "\n", 7)
	if len(lines) < 7 {
		t.Fatalf("the host shows %q", out)
	}
	s := seen{Booted: ec2lab.Booted{ID: lines[0], Host: lines[1],
		Join: strings.TrimSuffix(lines[6], "\n")}, Keys: lines[2] != h.keys,
		User: lines[3] == "debian", Faults: lines[4], JoinMode: lines[5]}
	s.New, h.keys = s.Keys, lines[2]
	return s
}

// again boots a host that was booted before.
func (h *realHost) again(t *testing.T, m *model, as string, clean bool) {
	t.Helper()
	made, err := h.lab.GetMachine(t.Context(), h.id)
	if err != nil {
		t.Fatal(err)
	}
	h.front.is(made.Address, m, as)
	script := forget
	if clean {
		script += "cloud-init clean"
	}
	if _, err := h.run(t, script); err != nil {
		t.Fatal(err)
	}
	if err := h.lab.RebootMachine(t.Context(), h.id); err != nil {
		t.Fatal(err)
	}
}

// Debian's cloud-init makes of the provider's user data, at each boot, what the table says and with
// it the lab's model.
func TestLongRealCloudInit(t *testing.T) {
	lab, front := newCloudInitLab(t)
	for seal, all := range boots {
		t.Run(fmt.Sprintf("seal=%v", seal), func(t *testing.T) {
			t.Parallel()
			m, h := newModel(t, seal), &realHost{lab: lab, front: front}
			for _, b := range all {
				begun := time.Now()
				m.boot(t, b)
				want := seen{Booted: m.wants(b), Keys: b.isNew, User: b.isNew, Faults: "0"}
				if b.joins {
					want.JoinMode = "600 root:root"
				}
				if got := h.boot(t, m, b); got != want {
					t.Errorf("%s of %s: cloud-init makes %+v of it, not %+v", b.what, b.of, got,
						want)
				}
				t.Logf("%s of %s took %s", b.what, b.of, time.Since(begun).Round(time.Second))
			}
		})
	}
}
