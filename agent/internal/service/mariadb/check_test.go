package mariadb

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/limits"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// neverRuns is a launcher of no process and a runner of no tool: what a refused request must not
// reach.
type neverRuns struct{ t *testing.T }

func (n neverRuns) Launch(context.Context, quiesce.Spec, string) error {
	n.t.Error("MariaDB was quiesced")
	return errors.New("no")
}

func (n neverRuns) Clear(context.Context, string) error { return nil }

func (n neverRuns) Stop(context.Context) error { return nil }

func (n neverRuns) Exit(context.Context, string, string) (string, error) {
	return "it ended", nil
}

func (n neverRuns) Run(_ context.Context, c hostexec.Command) (hostexec.Result, error) {
	n.t.Errorf("%s %q was run", c.Tool, c.Args)
	return hostexec.Result{}, errors.New("no")
}

func (n neverRuns) Lines(_ context.Context, c hostexec.Command, _ func([]byte) error) error {
	n.t.Errorf("%s was run", c.Tool)
	return errors.New("no")
}

func service(t *testing.T) *Service {
	t.Helper()
	dir := t.TempDir()
	server, err := mariadb.New(mariadb.Config{Exec: neverRuns{t}, Socket: dir + "/none",
		DropIn: dir + "/drop.cnf", StateDir: dir, TLSDir: dir, OptionsDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	manager, err := quiesce.New(quiesce.Config{Launcher: neverRuns{t}, Appliers: server.Server,
		Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s := New(server, manager)
	t.Cleanup(func() { server.Server.Close() })
	return s
}

// checked is a call as the server makes it: the limits of the proto file come first.
func checked[Q proto.Message, A any](
	call func(context.Context, Q) (A, error)) func(context.Context, Q) error {
	return func(ctx context.Context, request Q) error {
		if err := limits.Check(request); err != nil {
			return err
		}
		_, err := call(ctx, request)
		return err
	}
}

// streamed is checked for calls that answer with a stream.
func streamed[Q proto.Message, S any](call func(Q, S) error) func(Q, S) error {
	return func(request Q, stream S) error {
		if err := limits.Check(request); err != nil {
			return err
		}
		return call(request, stream)
	}
}

// hostile are texts that no name, host, position or file may be.
func hostile() []string {
	return []string{"a\nb", "'", `"`, "`", "a;b", "--x", "-x", "../x", "/etc/passwd", "a b",
		"a\x00", "%s", "a'--", "x' OR '1", strings.Repeat("x", 5000), "\xff", "ä"}
}

func TestHostileFieldsAreRefusedByName(t *testing.T) {
	t.Parallel()
	s, ctx := service(t), t.Context()
	for _, bad := range hostile() {
		for field, call := range map[string]func() error{
			"bind_address": func() error {
				err := checked(s.SetConfiguration)(ctx,
					&agentv1.SetConfigurationRequest{ServerId: 1,
						BindAddress: bad})
				return err
			},
			"log_bin": func() error {
				err := checked(s.SetConfiguration)(ctx,
					&agentv1.SetConfigurationRequest{ServerId: 1,
						BindAddress: "::", LogBin: bad})
				return err
			},
			"datadir": func() error {
				err := checked(s.PrepareDatadir)(ctx,
					&agentv1.PrepareDatadirRequest{Datadir: bad + ".."})
				return err
			},
			"expected_nonce": func() error {
				err := checked(s.PrepareDatadir)(ctx,
					&agentv1.PrepareDatadirRequest{ExpectedNonce: bad})
				return err
			},
			"to_file": func() error {
				err := checked(s.PurgeBinlogs)(ctx, &agentv1.PurgeBinlogsRequest{ToFile: bad})
				return err
			},
			"page_token": func() error {
				err := checked(s.ListBinlogs)(ctx,
					&agentv1.ListBinlogsRequest{PageToken: bad + "!"})
				return err
			},
			"id": func() error {
				err := checked(s.ReserveBinlogs)(ctx,
					&agentv1.ReserveBinlogsRequest{Id: bad, Duration: durationpb.New(time.Hour)})
				return err
			},
			"from_gtid": func() error {
				err := checked(s.ReserveBinlogs)(ctx,
					&agentv1.ReserveBinlogsRequest{Id: "x", Duration: durationpb.New(time.Hour),
						FromGtid: bad})
				return err
			},
			"user": func() error {
				err := checked(s.EnsureReplicationAccount)(ctx,
					&agentv1.EnsureReplicationAccountRequest{User: bad, Host: "%", Password: "p"})
				return err
			},
			"host": func() error {
				err := checked(s.DeleteReplicationAccount)(ctx,
					&agentv1.DeleteReplicationAccountRequest{User: "u", Host: bad})
				return err
			},
			"primary_host": func() error {
				err := checked(s.ConfigureReplica)(ctx,
					&agentv1.ConfigureReplicaRequest{PrimaryHost: bad,
						User: "u", Password: "p"})
				return err
			},
			"gtid": func() error {
				err := checked(s.PrepareReplica)(ctx,
					&agentv1.PrepareReplicaRequest{Gtid: bad, ServerId: 1,
						SourceRole: agentv1.ServerRole_SERVER_ROLE_PRIMARY})
				return err
			},
			"until_gtid": func() error {
				err := checked(s.StartReplication)(ctx,
					&agentv1.StartReplicationRequest{UntilGtid: bad})
				return err
			},
			"expected_gtid": func() error {
				err := checked(s.ResetReplication)(ctx,
					&agentv1.ResetReplicationRequest{ExpectedGtid: bad})
				return err
			},
		} {
			refused(t, field, bad, call())
		}
	}
}

// refused wants INVALID_ARGUMENT with a violation of that field, and a short message.
func refused(t *testing.T, field, bad string, err error) {
	t.Helper()
	if !errors.Is(err, errs.InvalidArgument) {
		t.Errorf("%s = %.40q: %v", field, bad, err)
		return
	}
	for _, v := range errs.FieldsOf(err) {
		if v.Field == field {
			if len(err.Error()) > 1000 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s = %.40q: message %q", field, bad, err)
			}
			return
		}
	}
	t.Errorf("%s = %.40q: violations %v", field, bad, errs.FieldsOf(err))
}

func TestPasswordsThatCannotBeKept(t *testing.T) {
	t.Parallel()
	s := service(t)
	for _, bad := range []string{"", "a\nb", "a\x00", "\xff", strings.Repeat("x", 65), "a\u0085"} {
		err := checked(s.EnsureReplicationAccount)(t.Context(),
			&agentv1.EnsureReplicationAccountRequest{User: "u", Host: "%", Password: bad})
		refused(t, "password", bad, err)
		err = checked(s.ConfigureReplica)(t.Context(),
			&agentv1.ConfigureReplicaRequest{PrimaryHost: "h",
				User: "u", Password: bad})
		refused(t, "password", bad, err)
		if len(bad) > 2 && strings.Contains(err.Error(), bad) {
			t.Errorf("the password is in %q", err)
		}
	}
	for _, user := range []string{"root", "mysql", "mariadb.sys", "appuser", "us"} {
		err := checked(s.EnsureReplicationAccount)(t.Context(),
			&agentv1.EnsureReplicationAccountRequest{User: user, Host: "%", Password: "p"})
		refused(t, "user", user, err)
		err = checked(s.DeleteReplicationAccount)(t.Context(),
			&agentv1.DeleteReplicationAccountRequest{User: user, Host: "%"})
		refused(t, "user", user, err)
	}
}

func TestNumbersOutOfRange(t *testing.T) {
	t.Parallel()
	s, ctx := service(t), t.Context()
	for _, role := range []agentv1.ServerRole{0, 3, -1} {
		err := checked(s.PrepareReplica)(ctx, &agentv1.PrepareReplicaRequest{ServerId: 1,
			SourceRole: role})
		refused(t, "source_role", role.String(), err)
	}
	err := checked(s.ListBinlogs)(ctx, &agentv1.ListBinlogsRequest{PageSize: 1001})
	refused(t, "page_size", "1001", err)
	err = checked(s.ListBinlogs)(ctx, &agentv1.ListBinlogsRequest{PageSize: -1})
	refused(t, "page_size", "-1", err)
	for _, d := range []*durationpb.Duration{nil, durationpb.New(0), durationpb.New(-1),
		durationpb.New(8 * 24 * time.Hour), {Seconds: math.MaxInt64}} {
		err = checked(s.ReserveBinlogs)(ctx, &agentv1.ReserveBinlogsRequest{Id: "x", Duration: d})
		refused(t, "duration", d.String(), err)
	}
	for _, id := range []int64{-1, 0, 1 << 32, math.MaxInt64} {
		err = checked(s.SetConfiguration)(ctx, &agentv1.SetConfigurationRequest{ServerId: id,
			BindAddress: "::"})
		refused(t, "server_id", "", err)
		err = checked(s.PrepareReplica)(ctx, &agentv1.PrepareReplicaRequest{ServerId: id,
			SourceRole: agentv1.ServerRole_SERVER_ROLE_PRIMARY})
		refused(t, "server_id", "", err)
	}
	err = checked(s.ConfigureReplica)(ctx, &agentv1.ConfigureReplicaRequest{PrimaryHost: "h",
		PrimaryPort: 65536, User: "u", Password: "p"})
	refused(t, "primary_port", "65536", err)
	err = checked(s.PrepareReplica)(ctx, &agentv1.PrepareReplicaRequest{ServerId: 1,
		SourceRole: agentv1.ServerRole_SERVER_ROLE_PRIMARY, Gtid: "0-1-5", GtidUpper: "0-1-4"})
	refused(t, "gtid_upper", "", err)
	err = checked(s.PrepareDatadir)(ctx, &agentv1.PrepareDatadirRequest{Copy: true,
		Initialize: true})
	refused(t, "copy", "", err)
	err = checked(s.StopReplication)(ctx,
		&agentv1.StopReplicationRequest{Timeout: durationpb.New(-time.Second)})
	refused(t, "timeout", "", err)
}

// sink is the server's side of a stream that sends nothing.
type sink[T any] struct {
	grpc.ServerStreamingServer[T]
	ctx context.Context
}

func (s sink[T]) Context() context.Context { return s.ctx }

func TestStreamsRefuseBadRequests(t *testing.T) {
	t.Parallel()
	s, ctx := service(t), t.Context()
	refused(t, "gtid", "", streamed(s.WaitForGtid)(&agentv1.WaitForGtidRequest{},
		sink[agentv1.WaitForGtidResponse]{ctx: ctx}))
	refused(t, "timeout", "",
		streamed(s.WaitForGtid)(&agentv1.WaitForGtidRequest{Gtid: "0-1-1",
			Timeout: durationpb.New(25 * time.Hour)}, sink[agentv1.WaitForGtidResponse]{ctx: ctx}))
	refused(t, "tables[0]", "",
		streamed(s.ChecksumTables)(&agentv1.ChecksumTablesRequest{Tables: []string{"x"}},
			sink[agentv1.ChecksumTablesResponse]{ctx: ctx}))
	refused(t, "sample_bytes", "", streamed(s.ChecksumTables)(
		&agentv1.ChecksumTablesRequest{SampleBytes: -1},
		sink[agentv1.ChecksumTablesResponse]{ctx: ctx}))
	refused(t, "timeout", "",
		streamed(s.UpgradeDatadir)(&agentv1.UpgradeDatadirRequest{Timeout: durationpb.New(-1)},
			sink[agentv1.UpgradeDatadirResponse]{ctx: ctx}))
}

func TestExpiryOutOfRangeIsRefused(t *testing.T) {
	t.Parallel()
	s := service(t)
	for _, seconds := range []int64{-1, 99*24*60*60 + 1, math.MinInt64,
		math.MaxInt64} {
		err := checked(s.SetBinlogExpiry)(t.Context(),
			&agentv1.SetBinlogExpiryRequest{Expiry: &durationpb.Duration{Seconds: seconds}})
		refused(t, "expiry", "", err)
	}
	err := checked(s.SetBinlogExpiry)(t.Context(), &agentv1.SetBinlogExpiryRequest{})
	refused(t, "expiry", "", err)
	half := durationpb.New(1500 * time.Millisecond)
	err = checked(s.SetBinlogExpiry)(t.Context(), &agentv1.SetBinlogExpiryRequest{Expiry: half})
	refused(t, "expiry", "", err)
	err = checked(s.SetConfiguration)(t.Context(), &agentv1.SetConfigurationRequest{ServerId: 1,
		BindAddress: "::", BinlogExpiry: half})
	refused(t, "binlog_expiry", "", err)
}

func TestQuiesceRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	const nonce = "0123456789abcdef0123456789abcdef"
	online := agentv1.QuiesceRequest_MODE_ONLINE
	for field, open := range map[string]*agentv1.QuiesceRequest_Start{
		"start":       nil,
		"start.mode":  {Nonce: nonce},
		"start.nonce": {Mode: online, Nonce: strings.ToUpper(nonce)},
		"start.limit": {Mode: online, Nonce: nonce, Limit: durationpb.New(time.Hour)},
		"start.lock_wait": {Mode: online, Nonce: nonce, Limit: durationpb.New(time.Second),
			LockWait: durationpb.New(2 * time.Second)},
		"start.adopt_within": {Mode: online, Nonce: nonce,
			AdoptWithin: durationpb.New(time.Minute)},
	} {
		r := &agentv1.QuiesceRequest{}
		if open != nil {
			r.Action = &agentv1.QuiesceRequest_Start_{Start: open}
		}
		err := limits.Check(r)
		if err == nil {
			_, err = specOf(r, identity.ControlPlane())
		}
		refused(t, field, "", err)
	}
	spec, err := specOf(
		&agentv1.QuiesceRequest{Action: &agentv1.QuiesceRequest_Start_{
			Start: &agentv1.QuiesceRequest_Start{Mode: online, Nonce: nonce,
				Limit: durationpb.New(time.Second)}}}, identity.ControlPlane())
	if err != nil || spec.LockWait != time.Second || spec.Limit != time.Second ||
		spec.Mode != quiesce.Online {
		t.Errorf("%+v %v", spec, err)
	}
}

// What an operator holds ends with the grant that the call is made under, so that only the control
// plane and root of the host leave a hold behind to be adopted.
func TestAHoldUnderAGrantIsNotLeftBehind(t *testing.T) {
	t.Parallel()
	r := &agentv1.QuiesceRequest{Action: &agentv1.QuiesceRequest_Start_{
		Start: &agentv1.QuiesceRequest_Start{Mode: agentv1.QuiesceRequest_MODE_OFFLINE,
			Nonce: strings.Repeat("0", 32), AdoptWithin: durationpb.New(time.Minute)}}}
	for _, caller := range []identity.Identity{identity.Operator("ann"), identity.Admin("ann")} {
		_, err := specOf(r, caller)
		refused(t, "start.adopt_within", "", err)
	}
	for _, caller := range []identity.Identity{identity.ControlPlane(),
		identity.BreakGlass(0)} {
		if _, err := specOf(r, caller); err != nil {
			t.Errorf("%s: %v", caller, err)
		}
	}
}

// With nothing wrong in the request, a MariaDB that is down is said to be so, with the hint.
func TestDownIsUnavailable(t *testing.T) {
	t.Parallel()
	s, ctx := service(t), t.Context()
	err := checked(s.StartReplication)(ctx, &agentv1.StartReplicationRequest{})
	if !errors.Is(err, errs.Unavailable) || errs.HintOf(err).String() == "" {
		t.Errorf("%v", err)
	}
	if _, ok := errs.RetryOf(err); !ok {
		t.Error("no word on when to try again")
	}
	if err = checked(s.SetBinlogExpiry)(ctx, &agentv1.SetBinlogExpiryRequest{
		Expiry: durationpb.New(0)}); !errors.Is(err, errs.Unavailable) {
		t.Errorf("%v", err)
	}
	err = checked(s.ConfigureReplica)(ctx, &agentv1.ConfigureReplicaRequest{PrimaryHost: "10.0.0.1",
		User: "us_7", Password: "p'", Tls: true})
	if !errors.Is(err, errs.Unavailable) {
		t.Errorf("%v", err)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add(int64(1), "0.0.0.0", "mariadb-bin", "host", "max_connections", "100")
	f.Add(int64(1), "::\n", "a/b", "h'", "init_file", "x\ny")
	f.Fuzz(func(t *testing.T, id int64, bind, logBin, host, name, value string) {
		settings, err := settingsOf(&agentv1.SetConfigurationRequest{ServerId: id,
			BindAddress: bind, LogBin: logBin, ReportHost: host,
			Options: map[string]string{name: value}})
		if err == nil && strings.ContainsAny(settings.Bind+settings.LogBin+settings.ReportHost+
			settings.Extra[name], "\n\r\x00'\"#=[]") {
			t.Errorf("%+v passed", settings)
		}
	})
}
