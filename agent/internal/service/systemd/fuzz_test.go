package systemd

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	domain "github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/rpcfuzz"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// FuzzRequests hands requests of all kinds to all methods, after their time: none panics, and none
// writes a file but an allowed drop-in.
func FuzzRequests(f *testing.F) {
	tools, err := hostexec.New(hostexec.Config{Dirs: []string{f.TempDir()}})
	if err != nil {
		f.Fatal(err)
	}
	allow, err := domain.NewAllowList([]string{"fuzzed-*.service"}, nil)
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	units, err := domain.New(domain.Config{Exec: tools, UnitDir: dir, Allow: allow})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(units.Close)
	s := New(units, allow)
	desc := agentv1.SystemdService_ServiceDesc
	for i := range len(desc.Methods) + len(desc.Streams) {
		f.Add(uint8(i), append([]byte{4, 0, 16}, "fuzzed-x.service\x01\x00"...))
		f.Add(uint8(i), append([]byte{4, 0, 14}, "../etc.service\x01\x00"...))
	}
	ended, cancel := context.WithCancel(f.Context())
	cancel()
	f.Fuzz(func(t *testing.T, method uint8, data []byte) {
		_ = rpcfuzz.Call(ended, &desc, s, method, data)
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(errors.Join(errors.New("the directory of units is gone"), err))
		}
		for _, e := range entries {
			if !allow.Changes(e.Name()[:max(0, len(e.Name())-len(".d"))]) {
				t.Errorf("%s was written", e.Name())
			}
		}
	})
}
