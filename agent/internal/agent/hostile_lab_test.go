//go:build lab

package agent_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/agent/internal/agent"
	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/proto/rpc/authz/authztest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

func isUnavailable(err error) bool { return errs.KindOf(err) == errs.Unavailable }

func TestWhoMayCall(t *testing.T) {
	a := install(t)
	tests := map[string]struct {
		source identity.Source
		kind   errs.Kind
	}{
		"a viewer":          {a.ca.Source(identity.Viewer("vic")), 0},
		"an operator":       {a.ca.Source(identity.Operator("ann")), 0},
		"an admin":          {a.ca.Source(identity.Admin("ada")), 0},
		"the control plane": {a.ca.Source(identity.ControlPlane()), 0},
		"another agent":     {a.ca.Source(identity.Agent("db-2")), errs.PermissionDenied},
		"nobody":            {&identity.Static{Roots: a.ca.Pool()}, errs.Unavailable},
		"another authority's": {&identity.Static{Certificate: identitytest.New(t).Issue(
			identity.Operator("ann")), Roots: a.ca.Pool()}, errs.Unavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := agentv1.NewHostServiceClient(a.dial(t, test.source)).GetHost(t.Context(),
				&agentv1.GetHostRequest{})
			if test.kind == 0 && err != nil || test.kind != 0 &&
				(err == nil || errs.KindOf(err) != test.kind) {
				t.Errorf("err = %v, want %v", err, test.kind)
			}
		})
	}
}

// A viewer's key changes nothing on a whole agent, whatever the request: the rules come first.
func TestAViewerChangesNothing(t *testing.T) {
	a := install(t)
	table, err := agent.Rules()
	if err != nil {
		t.Fatal(err)
	}
	conn := a.dial(t, a.ca.Source(identity.Viewer("vic")))
	before := fingerprint(t)
	refused := 0
	for method, desc := range agent.Served() {
		err := authztest.Call(t, conn, method, desc)
		may := slices.Contains(table[method], identity.RoleViewer)
		if denied := err != nil && errs.KindOf(err) == errs.PermissionDenied; denied == may {
			t.Errorf("%s: %v", method, err)
		} else if denied {
			refused++
		}
	}
	after := fingerprint(t)
	if lines := append(missing(before, after), missing(after, before)...); len(lines) > 0 {
		t.Errorf("something was done: %v", lines)
	}
	t.Logf("%d methods refused", refused)
}

// call makes one call of any method, to the end of its stream.
func call(ctx context.Context, conn *grpc.ClientConn, method string, request proto.Message) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	answer := request.ProtoReflect().New().Interface() // its fields are of no interest
	for {
		if err := stream.RecvMsg(answer); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func badNames() []string {
	return []string{"", " ", "-", "--help", "-rf", "../../etc/passwd", "a/b.service",
		"/etc/systemd/system/mariadb.service", "mariadb.service\n", "mariadb.service\x00",
		"mariadb", "mariadb.service;reboot", "$(reboot).service", "`reboot`.service",
		strings.Repeat("a", 5000) + ".service", "..service", ".service", "*.service"}
}

func badPaths() []string {
	return []string{"", "/", "//", "/srv/mariadb/", "/srv/../etc", "srv/mariadb", "/srv/mariadb\n",
		"/srv/mariadb/../../etc", "/etc", "/srv/mariadb x", "-o", "/srv/mariadb\x00",
		"/" + strings.Repeat("a", 5000)}
}

func badIDs() []string {
	return []string{"", "../vda", "/dev/vda", "-n", "a b", "a\nb", "virtio-vol;reboot", "..", ".",
		strings.Repeat("x", 300)}
}

func TestHostileRequests(t *testing.T) { // C10
	a := install(t)
	const units, mounts = "/understudy.agent.v1.SystemdService/",
		"/understudy.agent.v1.MountService/"
	type bad struct {
		method  string
		request proto.Message
	}
	var all []bad
	add := func(method string, request proto.Message) { all = append(all, bad{method, request}) }
	for _, name := range append(badNames(), "ssh.service", "reboot.target",
		"understudy-agent.service", "dbus.service") {
		add(units+"StartUnit", &agentv1.StartUnitRequest{Unit: name})
		add(units+"StopUnit", &agentv1.StopUnitRequest{Unit: name})
		add(units+"RestartUnit",
			&agentv1.RestartUnitRequest{Unit: name, InvocationId: strings.Repeat("0", 32)})
		add(units+"ReloadUnit", &agentv1.ReloadUnitRequest{Unit: name})
		add(units+"EnableUnit", &agentv1.EnableUnitRequest{Unit: name})
		add(units+"DisableUnit", &agentv1.DisableUnitRequest{Unit: name})
		add(units+"MaskUnit", &agentv1.MaskUnitRequest{Unit: name})
		add(units+"UnmaskUnit", &agentv1.UnmaskUnitRequest{Unit: name})
		add(units+"ResetFailedUnit", &agentv1.ResetFailedUnitRequest{Unit: name})
		add(units+"EnsureUnit", &agentv1.EnsureUnitRequest{Unit: name})
		add(units+"SetDropIn", &agentv1.SetDropInRequest{Unit: name, DropIn: "understudy.conf"})
		add(units+"DeleteDropIn",
			&agentv1.DeleteDropInRequest{Unit: name, DropIn: "understudy.conf"})
		add(mounts+"EnsureUnmounted", &agentv1.EnsureUnmountedRequest{Path: "/srv/mariadb",
			StopUnits: []string{name}})
		add(mounts+"EnsureBindMount", &agentv1.EnsureBindMountRequest{Path: "/var/lib/mysql",
			Source: "/srv/mariadb/mysql", BoundUnits: []string{name}})
	}
	for _, name := range badNames() {
		add(units+"GetUnit", &agentv1.GetUnitRequest{Unit: name})
		add(units+"TailJournal", &agentv1.TailJournalRequest{Unit: name})
		add(units+"WatchUnits", &agentv1.WatchUnitsRequest{Units: []string{name}})
		add(units+"SetDropIn", &agentv1.SetDropInRequest{Unit: "mariadb.service", DropIn: name})
	}
	for _, path := range badPaths() {
		add(mounts+"GetMount", &agentv1.GetMountRequest{Path: path})
		add(mounts+"EnsureMount",
			&agentv1.EnsureMountRequest{Path: path, DeviceIds: []string{"virtio-vol-1"}})
		add(mounts+"EnsureUnmounted", &agentv1.EnsureUnmountedRequest{Path: path})
		add(mounts+"GrowFilesystem", &agentv1.GrowFilesystemRequest{Path: path})
		add(mounts+"FreezeFilesystem", &agentv1.FreezeFilesystemRequest{Path: path})
		add(mounts+"EnsureBindMount", &agentv1.EnsureBindMountRequest{Path: path,
			Source: "/srv/mariadb/mysql"})
	}
	for _, id := range badIDs() {
		add(mounts+"EnsureMount", &agentv1.EnsureMountRequest{Path: "/srv/mariadb",
			DeviceIds: []string{id}})
		add(mounts+"EnsureMount", &agentv1.EnsureMountRequest{Path: "/srv/mariadb",
			DeviceIds: []string{"virtio-a"}, ReplaceDeviceIds: []string{id}})
		add(mounts+"FormatVolume", &agentv1.FormatVolumeRequest{DeviceIds: []string{id},
			Filesystem: "ext4", FilesystemUuid: "11111111-1111-4111-8111-111111111111",
			RecordedBlank: true})
	}
	for _, content := range []string{"[Service]\nExecStart=/bin/sh", "[Service]\nExecStartPre=x",
		"[Service]\nEnvironment=A=b", "[Service]\nUser=root", "[Install]\nWantedBy=x.target",
		"[Unit]\nRequires=reboot.target", "[Unit]\nOnFailure=x.service", "Restart=no",
		"[Service]\nTimeoutStartSec=1\\\nExecStart=/bin/sh", "[Service]\nLimitNOFILE=%n",
		"# x\\\n[Service]", "[Ser vice]\nNice=1", strings.Repeat("#", 17<<10)} {
		add(units+"SetDropIn", &agentv1.SetDropInRequest{Unit: "mariadb.service",
			DropIn: "understudy.conf", Content: content})
	}
	for _, d := range []*durationpb.Duration{{Seconds: -1}, {}, {Seconds: 1 << 40},
		{Seconds: 1, Nanos: -1}, durationpb.New(100 * time.Hour)} {
		add(units+"StartUnit", &agentv1.StartUnitRequest{Unit: "mariadb.service", Timeout: d})
		add(units+"EnsureUnit", &agentv1.EnsureUnitRequest{Unit: "mariadb.service", Timeout: d})
		add(mounts+"FreezeFilesystem", &agentv1.FreezeFilesystemRequest{Path: "/srv/mariadb",
			Limit: d})
		add(mounts+"EnsureMount", &agentv1.EnsureMountRequest{Path: "/srv/mariadb",
			DeviceIds: []string{"virtio-a"}, DeviceTimeout: d})
	}
	for _, uuid := range []string{"x", "11111111-1111-4111-8111-11111111111",
		"11111111-1111-4111-8111-11111111111G", "clear", "random", "-U"} {
		add(mounts+"EnsureMount", &agentv1.EnsureMountRequest{Path: "/srv/mariadb",
			DeviceIds: []string{"virtio-a"}, FilesystemUuid: uuid})
		add(mounts+"EnsureMount", &agentv1.EnsureMountRequest{Path: "/srv/mariadb",
			DeviceIds: []string{"virtio-a"}, SourceFilesystemUuid: uuid})
		add(mounts+"FormatVolume", &agentv1.FormatVolumeRequest{DeviceIds: []string{"virtio-a"},
			Filesystem: "ext4", FilesystemUuid: uuid, RecordedBlank: true})
		add(mounts+"EnsureMount", &agentv1.EnsureMountRequest{Path: "/srv/mariadb",
			DeviceIds: []string{"virtio-a"}, Filesystem: uuid})
		add(mounts+"EnsureMount", &agentv1.EnsureMountRequest{Path: "/srv/mariadb",
			DeviceIds: []string{"virtio-a"}, ExpectedNonce: uuid})
	}
	for _, owner := range []string{"root;", "-R", "0", "a b", "no\nbody", "../x"} {
		add(mounts+"EnsureMount", &agentv1.EnsureMountRequest{Path: "/srv/mariadb",
			DeviceIds: []string{"virtio-a"}, Owner: owner})
		add(mounts+"EnsureBindMount", &agentv1.EnsureBindMountRequest{Path: "/var/lib/mysql",
			Source: "/srv/mariadb/mysql", Owner: owner})
	}
	for _, source := range badPaths() {
		if source != "/etc" { // well-formed: refused because it is on no volume
			add(mounts+"EnsureBindMount", &agentv1.EnsureBindMountRequest{Path: "/var/lib/mysql",
				Source: source})
		}
	}
	for _, id := range []string{"", "x", strings.Repeat("g", 32)} {
		add(units+"RestartUnit", &agentv1.RestartUnitRequest{Unit: "mariadb.service",
			InvocationId: id})
	}
	for _, token := range []string{"x", "!", "YWJj"} {
		add(units+"ListUnits", &agentv1.ListUnitsRequest{PageToken: token})
		add(mounts+"ListMounts", &agentv1.ListMountsRequest{PageToken: token})
		add(mounts+"ListBlockDevices", &agentv1.ListBlockDevicesRequest{PageToken: token})
	}
	for _, size := range []int32{-1, 1001, 1 << 30} {
		add(units+"ListUnits", &agentv1.ListUnitsRequest{PageSize: size})
		add(mounts+"ListMounts", &agentv1.ListMountsRequest{PageSize: size})
		add(mounts+"ListBlockDevices", &agentv1.ListBlockDevicesRequest{PageSize: size})
		add(units+"TailJournal", &agentv1.TailJournalRequest{Unit: "mariadb.service", Lines: size})
	}
	before := fingerprint(t)
	for _, bad := range all {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := call(ctx, a.conn, bad.method, bad.request)
		cancel()
		switch kind := kindOf(err); {
		case kind != errs.InvalidArgument && kind != errs.PermissionDenied:
			t.Errorf("%s %.200v: %v", bad.method, bad.request, err)
		case errs.HintOf(err).String() == "" && len(errs.FieldsOf(err)) == 0:
			t.Errorf("%s %.200v: no hint and no field: %v", bad.method, bad.request, err)
		}
	}
	after := fingerprint(t)
	for _, line := range append(missing(before, after), missing(after, before)...) {
		t.Errorf("something was done: %s", line)
	}
	t.Logf("%d hostile requests", len(all))
}

func kindOf(err error) errs.Kind {
	if err == nil {
		return 0
	}
	return errs.KindOf(err)
}

// fingerprint is what none of these requests may change, line by line.
func fingerprint(t *testing.T) []string {
	active := lab.Run(t, "systemctl", "list-units", "--state=active", "--plain", "--no-legend",
		"--type=mount,socket,target")
	files := lab.Run(t, "find", "/etc", "/srv", "-newer", "/usr/bin/understudy-agent", "-type",
		"f", "-not", "-path", "/etc/understudy-agent/*", "-not", "-name", unitName)
	// A socket listens until its service runs.
	var all []string
	for line := range strings.Lines(active) {
		all = append(all, strings.Fields(line)[0])
	}
	return append(all, strings.Split(files, "\n")...)
}

// missing are the lines of a that b has not.
func missing(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a),
		func(line string) bool { return slices.Contains(b, line) })
}
