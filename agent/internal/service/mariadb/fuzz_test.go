package mariadb

import (
	"context"
	"errors"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/rpcfuzz"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// nothing is a host without tools and without MariaDB.
type nothing struct{}

var errNothing = errors.New("there is nothing here")

func (nothing) Launch(context.Context, quiesce.Spec, string) error   { return errNothing }
func (nothing) Clear(context.Context, string) error                  { return nil }
func (nothing) Stop(context.Context) error                           { return nil }
func (nothing) Exit(context.Context, string, string) (string, error) { return "", nil }
func (nothing) Run(context.Context, hostexec.Command) (hostexec.Result, error) {
	return hostexec.Result{}, errNothing
}
func (nothing) Lines(context.Context, hostexec.Command,
	func([]byte) error) error {
	return errNothing
}

// FuzzRequests hands requests of all kinds to all methods: none panics, and none is done on a host
// where nothing can be.
func FuzzRequests(f *testing.F) {
	dir := f.TempDir()
	server, err := mariadb.New(mariadb.Config{Exec: nothing{}, Socket: dir + "/none",
		DropIn: dir + "/drop.cnf", StateDir: dir, TLSDir: dir, OptionsDir: dir,
		Datadirs: []string{dir + "/data"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { server.Server.Close() })
	manager, err := quiesce.New(quiesce.Config{Launcher: nothing{}, Appliers: server.Server,
		Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	s := New(server, manager)
	desc := agentv1.MariaDBService_ServiceDesc
	for i := range len(desc.Methods) + len(desc.Streams) {
		f.Add(uint8(i), []byte{4, 0, 3, 'd', 'b', '1', 1, 2, 0, 1, 3, 9, 200, 0})
		f.Add(uint8(i), []byte{8, 0, 5, '0', '-', '1', '-', '2', 1, 4, 'u', 's', '_', '7', 2, 3,
			'p', '\'', 'w', 3, 1, 7, 0})
	}
	ended, cancel := context.WithCancel(f.Context())
	cancel()
	f.Fuzz(func(t *testing.T, method uint8, data []byte) {
		if err := rpcfuzz.Call(ended, &desc, s, method, data); err != nil &&
			errs.KindOf(err) == errs.DataLoss {
			t.Error(err)
		}
	})
}
