//go:build lab

package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/emptypb"

	// its methods are in the registry
	_ "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

func requestRows() []row {
	return []row{{
		id: "C10", variant: "every field of every call", quick: true, run: (*lab).badRequests,
		planted: "more than 1,000 bad requests over mTLS to the control plane and to the " +
			"primary's agent: each field of each call, as the contract has them, spoiled in each " +
			"way; and bytes that are no message",
		happens: "each is refused as the caller's fault; nothing was executed, on the host or in " +
			"the records",
		why: "every field is checked before anything is done",
	}}
}

// spoils are values that no field may have.
var spoils = map[string]string{
	"oversized": strings.Repeat("a", 70_000), "traversal": "../../etc/passwd",
	"rooted traversal": "/srv/mariadb/../../etc", "option": "--defaults-file=/etc/shadow",
	"newline": "mariadb\nExecStart=/bin/sh", "zero byte": "a\x00b", "blank": " ",
	"quotes":       "a'b\"c; DROP TABLE mysql.global_priv; --",
	"substitution": "$(reboot)", "backtick": "`reboot`", "right to left": "a\u202eb",
	"line separator": "a\u2028b", "escape": "a\x1b[2Jb",
}

// anyText are the fields that may hold any printable line, and what is no line.
var (
	anyText = []string{"reason", "password", "options", "tables", "text", "actor", "table",
		"after", "names"}
	noLine = []string{"oversized", "newline", "zero byte", "line separator", "escape"}
	// anyValue are fields in which each value is a good one.
	anyValue = []string{"sample_seed", "content", "state_reason"}
)

// plausible are values that a call would do something with, of things that are not there, by field.
var plausible = map[string]string{
	"server": "servers/nobody", "primary": "servers/nobody", "etag": "r1", "step": "snapshot",
	"reason": "why", "unit": "mariadb.service", "drop_in": "understudy-none.conf",
	"path": "/srv/mariadb", "device_ids": "virtio-none", "source": "/srv/mariadb/mysql",
	"filesystem": "ext4", "filesystem_uuid": "11111111-1111-4111-8111-111111111111",
	"job":           "jobs/01a20494-d160-738a-9eb3-bf50ac338cac",
	"effect_key":    "01a20494-d160-738a-9eb3-bf50ac338cac/none/1",
	"invocation_id": strings.Repeat("0", 32),
	"datadir":       "/var/lib/mysql", "gtid": "0-1-1", "user": "us_nobody", "host": "%",
	"password": "none", "primary_host": "192.0.2.1", "to_file": "mariadb-bin.000001",
	"expected_gtid": "0-1-1", "at_gtid": "0-1-1",
}

func nameFor(method string) string {
	switch {
	case strings.Contains(method, "Server") || method == "Revoke":
		return "servers/nobody"
	case strings.Contains(method, "Snapshot"):
		return "snapshots/nothing"
	}
	return plausible["job"]
}

// likely fills a request with what is plausible.
func likely(method string, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		text, ok := plausible[string(f.Name())]
		switch {
		case f.Kind() == protoreflect.StringKind && f.Name() == "name":
			m.Set(f, protoreflect.ValueOfString(nameFor(method)))
		case f.IsList() && ok && f.Kind() == protoreflect.StringKind:
			m.Mutable(f).List().Append(protoreflect.ValueOfString(text))
		case f.Kind() == protoreflect.StringKind && ok && !f.IsList():
			m.Set(f, protoreflect.ValueOfString(text))
		case f.Name() == "fencing_token" || f.Name() == "server" && f.Message() != nil:
			likely(method, m.Mutable(f).Message())
		case f.Name() == "epoch":
			m.Set(f, protoreflect.ValueOfInt64(1))
		case f.Name() == "source_role":
			m.Set(f, protoreflect.ValueOfEnum(1))
		case f.Name() == "expiry":
			m.Mutable(f)
		}
	}
}

// place is a field of a request, by the fields that lead to it.
type place []protoreflect.FieldDescriptor

func (p place) String() string {
	var names []string
	for _, f := range p {
		names = append(names, string(f.Name()))
	}
	return strings.Join(names, ".")
}

func (p place) leaf() protoreflect.FieldDescriptor { return p[len(p)-1] }

func places(desc protoreflect.MessageDescriptor, at place) []place {
	var all []place
	for i := range desc.Fields().Len() {
		f := desc.Fields().Get(i)
		here := append(slices.Clone(at), f)
		nested := f.Message() != nil && !f.IsMap() && !f.IsList() &&
			strings.HasPrefix(string(f.Message().FullName()), "understudy.")
		switch {
		case !nested:
			all = append(all, here)
		case f.Message().Name() != "Server": // of which all but the name is the server's to say
			all = append(all, places(f.Message(), here)...)
		default:
			all = append(all, append(here, f.Message().Fields().ByName("name")))
		}
	}
	return all
}

// bad are the spoiled requests of a method.
func bad(method protoreflect.MethodDescriptor) map[string]proto.Message {
	all := map[string]proto.Message{}
	for _, at := range places(method.Input(), nil) {
		for what, change := range changes(at.leaf()) {
			request := dynamicpb.NewMessage(method.Input())
			likely(string(method.Name()), request)
			m := protoreflect.Message(request)
			for _, f := range at[:len(at)-1] {
				m = m.Mutable(f).Message()
			}
			change(m)
			all[at.String()+" "+what] = request
		}
	}
	return all
}

func changes(f protoreflect.FieldDescriptor) map[string]func(protoreflect.Message) {
	all := map[string]func(protoreflect.Message){}
	set := func(what string,
		v protoreflect.Value) {
		all[what] = func(m protoreflect.Message) { m.Set(f, v) }
	}
	switch {
	case slices.Contains(anyValue, string(f.Name())):
	case f.IsMap() || f.Kind() == protoreflect.StringKind:
		for what, text := range spoils {
			// the empty position
			if what == "blank" && strings.HasSuffix(string(f.Name()), "gtid") {
				continue
			}
			if slices.Contains(anyText, string(f.Name())) && !f.IsMap() &&
				!slices.Contains(noLine, what) || what == "newline" && f.Name() == "names" {
				continue
			}
			all[what] = func(m protoreflect.Message) { put(m, f, text) }
		}
	case f.Kind() == protoreflect.EnumKind && f.IsList():
		for what, n := range map[string]protoreflect.EnumNumber{"unknown": 99, "negative": -1} {
			all[what] = func(m protoreflect.Message) {
				m.Mutable(f).List().Append(protoreflect.ValueOfEnum(n))
			}
		}
	case f.Kind() == protoreflect.EnumKind:
		set("unknown", protoreflect.ValueOfEnum(99))
		set("negative", protoreflect.ValueOfEnum(-1))
	case f.Kind() == protoreflect.Int32Kind:
		set("negative", protoreflect.ValueOfInt32(-1))
		if f.Name() != "page_size" { // which is cut down
			set("largest", protoreflect.ValueOfInt32(1<<31-1))
		}
	case f.Kind() == protoreflect.Int64Kind && f.IsList():
		all["negative"] = func(m protoreflect.Message) {
			m.Mutable(f).List().Append(protoreflect.ValueOfInt64(-1))
		}
	case f.Kind() == protoreflect.Int64Kind:
		set("negative", protoreflect.ValueOfInt64(-1))
	case f.Message() != nil && f.Message().FullName() == "google.protobuf.Duration":
		for what, d := range map[string][2]int64{"negative": {-1, 0}, "endless": {1 << 40, 0},
			"invalid": {1, -1}} {
			all[what] = func(m protoreflect.Message) {
				span := m.Mutable(f).Message()
				span.Set(span.Descriptor().Fields().ByName("seconds"),
					protoreflect.ValueOfInt64(d[0]))
				span.Set(span.Descriptor().Fields().ByName("nanos"),
					protoreflect.ValueOfInt32(int32(d[1])))
			}
		}
	}
	return all
}

func put(m protoreflect.Message, f protoreflect.FieldDescriptor, text string) {
	switch v := protoreflect.ValueOfString(text); {
	case f.IsMap():
		m.Mutable(f).Map().Set(v.MapKey(), protoreflect.ValueOfString("1"))
	case f.IsList():
		m.Mutable(f).List().Append(v)
	default:
		m.Set(f, v)
	}
}

// callers are the fault's of who calls, not of the program.
var callers = []codes.Code{codes.InvalidArgument, codes.PermissionDenied, codes.NotFound,
	codes.FailedPrecondition}

func (l *lab) badRequests() {
	address := l.recorded(primary).Address
	agent, err := l.DialAgent(primary, address)
	if err != nil {
		l.t.Fatal(err)
	}
	defer agent.Close()
	// without one, most requests are refused before anything looks into them
	if err := l.Grant(l.t.Context(), primary); err != nil {
		l.t.Fatal(err)
	}
	before, sent := l.traces(), 0
	for of, conn := range map[protoreflect.FullName]*grpc.ClientConn{"understudy.agent.v1": agent,
		"understudy.controlplane.v1": l.conn} {
		protoregistry.GlobalFiles.RangeFilesByPackage(of,
			func(file protoreflect.FileDescriptor) bool {
				for i := range file.Services().Len() {
					service := file.Services().Get(i)
					for j := range service.Methods().Len() {
						sent += l.spoil(conn, service, service.Methods().Get(j))
					}
				}
				return true
			})
	}
	if sent < 1000 {
		l.t.Errorf("%d bad requests were sent, not 1,000", sent)
	}
	after := l.traces()
	for i := range before {
		if before[i] != after[i] {
			l.t.Errorf("something was executed: %s", differ(before[i], after[i]))
		}
	}
	l.t.Logf("%d bad requests", sent)
}

// spoil sends all bad requests of a method and returns how many.
func (l *lab) spoil(conn *grpc.ClientConn, service protoreflect.ServiceDescriptor,
	method protoreflect.MethodDescriptor) int {
	full := fmt.Sprintf("/%s/%s", service.FullName(), method.Name())
	all := bad(method)
	for what, request := range all {
		if err := send(l.t.Context(), conn, full, request); !slices.Contains(callers,
			status.Code(err)) {
			l.t.Errorf("%s with %s: %.300v", full, what, err)
		}
	}
	// gRPC itself answers this one, before any of our code.
	if err := send(l.t.Context(), conn, full, noMessage{},
		grpc.ForceCodec(noMessage{})); status.Code(err) != codes.Internal ||
		!strings.Contains(err.Error(), "unmarshal") {
		l.t.Errorf("%s with what is no message: %.300v", full, err)
	}
	return len(all) + 1
}

// noMessage encodes all as bytes that are no message.
type noMessage struct{}

func (noMessage) Marshal(any) ([]byte, error) { return []byte("\xff\xff\xff\xff"), nil }
func (noMessage) Unmarshal([]byte, any) error { return nil }
func (noMessage) Name() string                { return "proto" }

// send makes a call of any kind and reads one answer.
func send(ctx context.Context, conn *grpc.ClientConn, method string, request any,
	options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
		method, options...)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(new(emptypb.Empty)) // its fields are of no interest
}

// traces are what bad requests could have left: units, mounts, files, MariaDB's accounts and
// settings, records. That the agent remembers the epoch of who asks is no trace.
func (l *lab) traces() []string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	all := []string{
		l.exec(primary, "systemctl", "list-unit-files", "--no-legend", "--plain"),
		l.exec(primary, "systemctl", "list-units", "--no-legend", "--plain", "--all",
			"--type=mount,timer,socket", "understudy*", "srv*", "var*", "mariadb*"),
		l.exec(primary, "systemctl", "show", "--property=InvocationID,NRestarts,ActiveState",
			mariadbUnit, "understudy-agent.service"),
		l.exec(primary, "findmnt", "--raw", "--noheadings", "--output",
			"TARGET,SOURCE,FSTYPE,OPTIONS"),
		// The agent writes the files left out by itself, its audit for each bad request.
		l.exec(primary, "find", "/etc", "/root", "/var/lib/understudy-agent", "-xdev", "-type", "f",
			"-not", "-name", "epochs.json", "-not", "-path",
			"/var/lib/understudy-agent/history.json", "-not", "-path",
			"/var/lib/understudy-agent/audit/*", "-printf", "%p %y %s %m %u %T@\\n"),
		l.sql(primary, "CHECKSUM TABLE mysql.global_priv, mysql.event, mysql.proc; SELECT "+
			"@@server_id, @@read_only, @@binlog_expire_logs_seconds, @@port; SHOW REPLICA STATUS"),
		fmt.Sprint(l.machines(), l.volumes(), l.snapshots()),
	}
	for _, table := range []string{"jobs", "servers", "snapshots", "volumes"} {
		all = append(all, fmt.Sprint(table, l.query(db, "SELECT COUNT(*) FROM "+table)))
	}
	return all
}

// differ are the lines that only one of two texts has.
func differ(a, b string) string {
	one, other := strings.Split(a, "\n"), strings.Split(b, "\n")
	var lines []string
	for _, line := range one {
		if !slices.Contains(other, line) {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range other {
		if !slices.Contains(one, line) {
			lines = append(lines, "+ "+line)
		}
	}
	return strings.Join(lines, "\n")
}
