package app_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/rpcfuzz"
)

// FuzzRequests sends requests of all kinds to all methods of a whole control plane: each passes, or
// is refused with a cause; none makes it fail.
func FuzzRequests(f *testing.F) {
	p := newPlane(f)
	p.addServer("db1", "")
	all := methods()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for i := range names {
		f.Add(uint8(i), append([]byte{2, 0, 11}, "servers/db1\x01\x02r1"...))
		f.Add(uint8(i), append([]byte{2, 0, 3}, "db9\x01\x0bservers/db1"...))
	}
	f.Fuzz(func(t *testing.T, at uint8, data []byte) {
		method := names[int(at)%len(names)]
		if all[method].IsStreamingServer() {
			return // those of jobs that go on have no end
		}
		request := dynamicpb.NewMessage(all[method].Input())
		rpcfuzz.Fill(request, data)
		// thousands of jobs would be work for a provider that stands still
		set(request, "validate_only")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		err := p.conn.Invoke(ctx, method, request, dynamicpb.NewMessage(all[method].Output()))
		if kind := errs.KindOf(orNone(err)); err != nil &&
			(kind == errs.Internal && !isMarshalling(err) || kind == errs.Unknown ||
				kind == errs.DataLoss || kind == errs.DeadlineExceeded) {
			t.Errorf("%s of %v: %v", method, request, err)
		}
	})
}

func set(request *dynamicpb.Message, name protoreflect.Name) {
	if field := request.Descriptor().Fields().ByName(name); field != nil {
		request.Set(field, protoreflect.ValueOfBool(true))
	}
}

func orNone(err error) error {
	if err == nil {
		return errs.NotFound
	}
	return err
}

// isMarshalling says whether the request never left this process: a text that is not UTF-8.
func isMarshalling(err error) bool { return strings.Contains(err.Error(), "marshal") }

// FuzzLoad reads configuration files.
func FuzzLoad(f *testing.F) {
	f.Add("listen: [127.0.0.1:7440]\nlog_level: debug\n", "UNDERSTUDY_METRICS=off")
	f.Add("state_dir: {a: b}\nbeat_interval: -1s\n", "UNDERSTUDY_LISTEN=,,a:b,")
	f.Add("- a\n- b", "UNDERSTUDY_FAILPOINT=before-effect:cut")
	f.Add("ec2_subnets: [z1=subnet-1, z2]\nprovider: ec2\n", "=")
	f.Fuzz(func(t *testing.T, content, variable string) {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := app.Load(app.Sources{File: path, Required: true, Environ: []string{variable}})
		if err == nil && (!filepath.IsAbs(cfg.StateDir) || len(cfg.Listen) == 0 ||
			cfg.BeatInterval <= 0) {
			t.Errorf("%q gave %+v", content, cfg)
		}
	})
}
