package mount

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	domain "github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/rpcfuzz"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

var errNothing = errors.New("there is no systemd here")

// nothing is a host whose systemd is gone. A unit that is written or started in it is a fault.
type nothing struct{ written *int }

func (nothing) Get(context.Context,
	string) (systemd.Unit, error) {
	return systemd.Unit{}, errNothing
}
func (n nothing) Ensure(context.Context, string, systemd.Say) (systemd.Unit, []string, error) {
	*n.written++
	return systemd.Unit{}, nil, errNothing
}
func (nothing) Stop(context.Context, string) (systemd.Unit, bool, error) {
	return systemd.Unit{}, false, errNothing
}
func (nothing) Disable(context.Context, string) (systemd.Unit, bool, error) {
	return systemd.Unit{}, false, errNothing
}
func (nothing) Read(string) ([]byte, error) { return nil, errNothing }
func (n nothing) Install(context.Context, string, []byte) ([]string, error) {
	*n.written++
	return nil, errNothing
}
func (nothing) Delete(context.Context, string) (bool, error) { return false, errNothing }
func (n nothing) SetDropIn(context.Context, string, string, string) (bool, error) {
	*n.written++
	return false, errNothing
}
func (nothing) DeleteDropIn(context.Context, string,
	string) (bool, error) {
	return false, errNothing
}
func (nothing) DropIns(string) (map[string]string, error) {
	return nil,
		errNothing
}
func (nothing) Reload(context.Context) error { return errNothing }
func (nothing) StartTransient(context.Context, string, systemd.TransientSpec) error {
	return errNothing
}
func (nothing) StartTransientTimer(context.Context, string, time.Duration,
	systemd.TransientSpec) error {
	return errNothing
}
func (nothing) StopTransient(context.Context, string) error { return errNothing }

// FuzzRequests hands requests of all kinds to all methods, on a host without tools, devices and
// systemd: none panics, none writes a unit.
func FuzzRequests(f *testing.F) {
	tools, err := hostexec.New(hostexec.Config{Dirs: []string{f.TempDir()}})
	if err != nil {
		f.Fatal(err)
	}
	allow, err := systemd.NewAllowList([]string{"mariadb.service"}, nil)
	if err != nil {
		f.Fatal(err)
	}
	written := 0
	mounts, err := domain.New(domain.Config{Exec: tools, Units: nothing{&written},
		Files:       nothing{&written},
		MountPoints: []string{"/nowhere/*"}, Root: f.TempDir(), RuntimeDir: f.TempDir(),
		StateDir: f.TempDir(), BusyPatience: time.Millisecond})
	if err != nil {
		f.Fatal(err)
	}
	s := New(mounts, allow)
	desc := agentv1.MountService_ServiceDesc
	for i := range len(desc.Methods) + len(desc.Streams) {
		f.Add(uint8(i), append([]byte{3, 0, 10}, "/nowhere/x\x01\x0bvirtio-vol1\x02\x00"...))
		f.Add(uint8(i), append([]byte{3, 1, 1, 9}, "../../vda\x00\x04/etc"...))
	}
	ended, cancel := context.WithCancel(f.Context())
	cancel()
	f.Fuzz(func(t *testing.T, method uint8, data []byte) {
		_ = rpcfuzz.Call(ended, &desc, s, method, data)
		if written > 0 {
			t.Error("a unit was written for a device that is not there")
		}
	})
}
