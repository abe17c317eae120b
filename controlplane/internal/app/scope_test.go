package app_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// What somebody does who has the key of an operator of some servers.

// shopkeeper is the connection of an operator who works with the servers of the shop.
func (p *plane) shopkeeper() *grpc.ClientConn {
	p.t.Helper()
	key, csr := p.newKey()
	made, err := cpv1.NewEnrollmentServiceClient(p.conn).CreateOperator(p.t.Context(),
		&cpv1.CreateOperatorRequest{Name: "operators/sally", Csr: csr,
			Servers: []string{"shop-*"}})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.Dial(p.source(key, made.GetCertificate().GetCertificatePem()))
}

// works has sally work with other servers.
func (p *plane) works(patterns ...string) {
	p.t.Helper()
	if _, err := cpv1.NewEnrollmentServiceClient(p.conn).UpdateOperator(p.t.Context(),
		&cpv1.UpdateOperatorRequest{Name: "operators/sally", Servers: patterns}); err != nil {
		p.t.Fatal(err)
	}
}

// fleet is a control plane with db1 and shop-1, a replica of each in the shop, a snapshot of each,
// and a job that makes one more of each.
func fleet(t *testing.T) (p *plane, outside, inside string) {
	t.Helper()
	p = newPlane(t)
	p.addServer("db1", "")
	p.addServer("shop-1", "")
	p.addServer("shop-2", "shop-1")
	p.addServer("shop-db", "db1")
	p.write(func(ctx context.Context, tx *store.Tx) error {
		for id, server := range map[string]string{"s1": "db1", "shop-s1": "shop-1"} {
			s := inventory.Snapshot{ID: id, Server: server, State: inventory.SnapshotPending}
			if err := tx.Snapshots().Insert(ctx, &s); err != nil {
				return err
			}
		}
		return nil
	})
	make1 := func(name string) string {
		made, err := p.servers().CreateServer(t.Context(), &cpv1.CreateServerRequest{
			Name: "servers/" + name})
		if err != nil {
			t.Fatal(err)
		}
		p.until(made.GetJob().GetName(), inState(cpv1.Job_STATE_WAITING))
		if _, err := cpv1.NewEnrollmentServiceClient(p.conn).CreateJoinToken(t.Context(),
			&cpv1.CreateJoinTokenRequest{Server: "servers/" + name}); err != nil {
			t.Fatal(err)
		}
		return made.GetJob().GetName()
	}
	return p, make1("db8"), make1("shop-8")
}

// theirs is a name of db1 or db8, and no part of a UUID.
var theirs = regexp.MustCompile(`\bdb[18]\b`)

// With every call that there is.
func TestWhatIsOutsideIsNeitherSeenNorChanged(t *testing.T) {
	t.Parallel()
	p, outside, _ := fleet(t)
	admin := p.conn
	sally := p.shopkeeper()
	before, changes := p.fingerprint(), p.changes()
	for method, desc := range methods() {
		req := sane()[string(desc.Name())]
		if desc.Name() == "RenewOperator" {
			continue // it changes nothing but her own certificate
		}
		renamed(t, req, "jobs/01a20494-d160-738a-9eb3-bf50ac338cac", outside)
		resp := desc.Output()
		answer, err := answered(t, sally, method, req, resp.FullName())
		// A replica's own record names the primary that it follows.
		answer = regexp.MustCompile(`"primary": +"servers/db1"`).ReplaceAllString(answer, "")
		// A serial is any hexadecimal number.
		answer = regexp.MustCompile(`"serial": +"[0-9a-f]+"`).ReplaceAllString(answer, "")
		if err == nil && theirs.MatchString(answer) {
			t.Errorf("%s shows %s", method, answer)
		}
		if err != nil && strings.Contains(err.Error(), "shop-1") {
			t.Errorf("%s: %v", method, err)
		}
	}
	p.conn = admin
	if after := p.fingerprint(); after != before || p.changes() != changes {
		t.Errorf("changed from\n%s\nto\n%s", before, after)
	}
}

// renamed makes a request one about other things: names, each followed by its new one.
func renamed(t *testing.T, req proto.Message, names ...string) {
	t.Helper()
	text, err := protojson.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal([]byte(strings.NewReplacer(names...).Replace(string(text))),
		req); err != nil {
		t.Fatal(err)
	}
}

// answered is the first answer to a call, as text.
func answered(t *testing.T, conn *grpc.ClientConn, method string, req proto.Message,
	answer protoreflect.FullName) (string, error) {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(answer)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err == nil {
		err = errors.Join(stream.SendMsg(req), stream.CloseSend())
	}
	got := kind.New().Interface()
	if err == nil {
		err = stream.RecvMsg(got)
	}
	return protojson.Format(got), err
}

func TestAnOperatorWorksWithTheServersOfTheScope(t *testing.T) {
	t.Parallel()
	p, outside, inside := fleet(t)
	conn := p.shopkeeper()
	servers, ctx := cpv1.NewServerServiceClient(conn), t.Context()
	jobs, snapshots := cpv1.NewJobServiceClient(conn), cpv1.NewSnapshotServiceClient(conn)
	list, err := servers.ListServers(ctx, &cpv1.ListServersRequest{})
	if err != nil || len(list.GetServers()) < 3 {
		t.Errorf("%v: %v", list, err)
	}
	some, err := jobs.ListJobs(ctx, &cpv1.ListJobsRequest{})
	if err != nil || len(some.GetJobs()) != 1 || some.GetJobs()[0].GetName() != inside {
		t.Errorf("%v: %v", some, err)
	}
	events, err := jobs.ListEvents(ctx, &cpv1.ListEventsRequest{})
	if err != nil || len(events.GetEvents()) == 0 {
		t.Errorf("%v: %v", events, err)
	}
	tokens, err := cpv1.NewEnrollmentServiceClient(conn).ListJoinTokens(ctx,
		&cpv1.ListJoinTokensRequest{})
	if err != nil || len(tokens.GetJoinTokens()) != 2 {
		t.Errorf("%v: %v", tokens, err)
	}
	for what, err := range map[string]error{
		"a server": second(servers.GetServer(ctx, &cpv1.GetServerRequest{Name: "servers/shop-1"})),
		"a job":    second(jobs.GetJob(ctx, &cpv1.GetJobRequest{Name: inside})),
		"a snapshot": second(snapshots.GetSnapshot(ctx,
			&cpv1.GetSnapshotRequest{Name: "snapshots/shop-s1"})),
		"a new server": second(servers.CreateServer(ctx,
			&cpv1.CreateServerRequest{Name: "servers/shop-9"})),
		"a cancelled job": second(jobs.CancelJob(ctx, &cpv1.CancelJobRequest{Name: inside})),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"a server": second(servers.GetServer(ctx, &cpv1.GetServerRequest{Name: "servers/db1"})),
		"no server": second(servers.GetServer(ctx,
			&cpv1.GetServerRequest{Name: "servers/shop-77"})),
		"a job": second(jobs.GetJob(ctx, &cpv1.GetJobRequest{Name: outside})),
		"a snapshot": second(snapshots.GetSnapshot(ctx,
			&cpv1.GetSnapshotRequest{Name: "snapshots/s1"})),
		"no snapshot": second(snapshots.GetSnapshot(ctx,
			&cpv1.GetSnapshotRequest{Name: "snapshots/s77"})),
		"a primary": second(servers.CreateReplica(ctx, &cpv1.CreateReplicaRequest{
			Name: "servers/shop-9", Primary: "servers/db1"})),
		"a snapshot to copy": second(servers.CreateReplica(ctx, &cpv1.CreateReplicaRequest{
			Name: "servers/shop-9", Snapshot: "snapshots/s1"})),
	} {
		t.Run(what, func(t *testing.T) {
			refused(t, err, errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
			if strings.Contains(err.Error(), "scope") {
				t.Errorf("it tells that there is one: %v", err)
			}
		})
	}
	for what, err := range map[string]error{
		"a name outside": second(servers.CreateServer(ctx,
			&cpv1.CreateServerRequest{Name: "servers/db9"})),
		"a machine outside": second(cpv1.NewEnrollmentServiceClient(conn).CreateJoinToken(ctx,
			&cpv1.CreateJoinTokenRequest{Server: "servers/db9"})),
		"the machine of a replica of a primary outside": second(
			cpv1.NewEnrollmentServiceClient(conn).CreateJoinToken(ctx,
				&cpv1.CreateJoinTokenRequest{Server: "servers/shop-db"})),
		"a load on a primary outside": second(servers.VerifyReplica(ctx,
			&cpv1.VerifyReplicaRequest{Name: "servers/shop-db"})),
		"the provider": second(cpv1.NewProviderServiceClient(conn).ListObjects(ctx,
			&cpv1.ListObjectsRequest{})),
	} {
		t.Run(what, func(t *testing.T) {
			refused(t, err, errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED)
		})
	}
}

// By pages of one: each has an element, and no token names what is outside.
func TestPagesOfAScopeTellNothingOfWhatIsOutside(t *testing.T) {
	t.Parallel()
	p, _, _ := fleet(t)
	conn, ctx := p.shopkeeper(), t.Context()
	servers, jobs := cpv1.NewServerServiceClient(conn), cpv1.NewJobServiceClient(conn)
	snapshots, enrol := cpv1.NewSnapshotServiceClient(conn), cpv1.NewEnrollmentServiceClient(conn)
	for name, page := range map[string]func(token string) (count int, next string, err error){
		"servers": func(token string) (int, string, error) {
			got, err := servers.ListServers(ctx, &cpv1.ListServersRequest{PageSize: 1,
				PageToken: token})
			return len(got.GetServers()), got.GetNextPageToken(), err
		},
		"snapshots": func(token string) (int, string, error) {
			got, err := snapshots.ListSnapshots(ctx, &cpv1.ListSnapshotsRequest{PageSize: 1,
				PageToken: token})
			return len(got.GetSnapshots()), got.GetNextPageToken(), err
		},
		"jobs": func(token string) (int, string, error) {
			got, err := jobs.ListJobs(ctx, &cpv1.ListJobsRequest{PageSize: 1, PageToken: token})
			return len(got.GetJobs()), got.GetNextPageToken(), err
		},
		"events": func(token string) (int, string, error) {
			got, err := jobs.ListEvents(ctx, &cpv1.ListEventsRequest{PageSize: 1,
				PageToken: token})
			return len(got.GetEvents()), got.GetNextPageToken(), err
		},
		"join tokens": func(token string) (int, string, error) {
			got, err := enrol.ListJoinTokens(ctx, &cpv1.ListJoinTokensRequest{PageSize: 1,
				PageToken: token})
			return len(got.GetJoinTokens()), got.GetNextPageToken(), err
		},
		"operators": func(token string) (int, string, error) {
			got, err := enrol.ListOperators(ctx, &cpv1.ListOperatorsRequest{PageSize: 1,
				PageToken: token})
			return len(got.GetOperators()), got.GetNextPageToken(), err
		},
	} {
		for token, more := "", true; more; more = token != "" {
			count, next, err := page(token)
			text, _ := base64.RawURLEncoding.DecodeString(next)
			if err != nil || count != 1 || strings.Contains(string(text), `"db`) ||
				strings.Contains(string(text), `"s1"`) {
				t.Errorf("%s: a page with %d elements, and the token %s: %v", name, count, text,
					err)
				break
			}
			token = next
		}
	}
}

// What is outside and what is not there are refused in the same words.
func TestWhatIsOutsideIsRefusedAsWhatIsNotThere(t *testing.T) {
	t.Parallel()
	p, outside, _ := fleet(t)
	conn := p.shopkeeper()
	const absent = "jobs/01a20494-d160-738a-9eb3-bf50ac338cac"
	told := func(method string, answer protoreflect.FullName, names ...string) string {
		req := sane()[method[strings.LastIndex(method, "/")+1:]]
		renamed(t, req, names...)
		_, err := answered(t, conn, method, req, answer)
		if err == nil {
			return ""
		}
		return fmt.Sprint(errs.KindOf(err), err, errs.HintOf(err))
	}
	alike := strings.NewReplacer(outside, absent, outside[len("jobs/"):], absent[len("jobs/"):],
		"zz", "db", "z1", "s1")
	for method, desc := range methods() {
		answer, free := desc.Output().FullName(), "servers/db9"
		if desc.Name() == "CreateReplica" {
			free = "servers/shop-9" // to get as far as the primary
		}
		there := told(method, answer, absent, outside, "servers/db9", free)
		gone := told(method, answer, "servers/db9", free, "servers/db", "servers/zz",
			"snapshots/s", "snapshots/z")
		if alike.Replace(there) != alike.Replace(gone) {
			t.Errorf("%s: outside %s\nnot there %s", method, there, gone)
		}
	}
}

// The scope is on record: another one counts from the next call on, and for what is watched.
func TestAScopeChangesAtOnce(t *testing.T) {
	t.Parallel()
	p, outside, inside := fleet(t)
	conn := p.shopkeeper()
	get := func(name string) error {
		return second(cpv1.NewServerServiceClient(conn).GetServer(t.Context(),
			&cpv1.GetServerRequest{Name: "servers/" + name}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watch, err := cpv1.NewJobServiceClient(conn).WatchJob(ctx,
		&cpv1.WatchJobRequest{Name: inside})
	if err == nil {
		_, err = watch.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.works("db*")
	if err := get("db1"); err != nil {
		t.Error(err)
	}
	refused(t, get("shop-1"), errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
	if _, err := p.jobs().CancelJob(ctx, &cpv1.CancelJobRequest{Name: inside}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = watch.Recv()
	}
	refused(t, err, errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
	p.works("*")
	for _, name := range []string{"db1", "shop-1"} {
		if err := get(name); err != nil {
			t.Error(err)
		}
	}
	if err := second(cpv1.NewJobServiceClient(conn).GetJob(ctx,
		&cpv1.GetJobRequest{Name: outside})); err != nil {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }
