package hint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	_ "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func TestHintsBecomeCommands(t *testing.T) {
	t.Parallel()
	tests := []struct {
		hint errs.Hint
		want string
	}{
		{errs.Hint{}, ""},
		{errs.Hint{Text: "wait"}, "wait"},
		{errs.Hint{Text: "retry the step", Actions: []errs.Action{
			errs.Call("RetryJob", "name", "jobs/7", "step", "mount_data")}},
			"retry the step: `understudy job retry 7 --step mount_data`"},
		{errs.Hint{Text: "go on", Actions: []errs.Action{errs.Call("JobService.RetryJob", "name",
			"jobs/7"), errs.Call("SkipStep", "name", "jobs/7", "step", "verify")}},
			"go on: `understudy job retry 7` or `understudy job skip 7 verify --reason WHY`"},
		{errs.Hint{Actions: []errs.Action{errs.Call("ListEvents", "subject", "servers/db1")}},
			"`understudy event list --on servers/db1`"},
		{errs.Hint{Actions: []errs.Action{errs.Call("VerifyReplica", "name", "servers/db2",
			"level", "VERIFY_LEVEL_FULL")}}, "`understudy replica verify db2 --level full`"},
		{replication.OtherHistory("db2"), replication.OtherHistory("db2").Text +
			": `understudy replica rebuild db2` or `understudy replica verify db2 --level full " +
			"--accept-history WHY`"},
		{errs.Hint{Actions: []errs.Action{errs.Call("RebuildReplica", "name", "servers/db2")}},
			"`understudy replica rebuild db2`"},
		{errs.Hint{Actions: []errs.Action{errs.Call("Revoke", "name", "operators/ann")}},
			"`understudy operator revoke ann --reason WHY`"},
		{errs.Hint{Actions: []errs.Action{errs.Call("Revoke", "name", "servers/db1")}},
			"`understudy agent revoke db1 --reason WHY`"},
		{errs.Hint{Actions: []errs.Action{errs.Call("GetServer")}}, "`understudy server get NAME`"},
		{errs.Hint{Actions: []errs.Action{errs.Call("SkipStep", "name", "jobs/7", "step", "x",
			"reason", "it's mine; $(reboot)")}},
			"`understudy job skip 7 x --reason 'it'\\''s mine; $(reboot)'`"},
		{errs.Hint{Actions: []errs.Action{errs.Call("SystemdService.StartUnit", "unit",
			"mariadb.service")}}, "`grpcurl -d '{\"unit\":\"mariadb.service\"}' HOST:PORT " +
			"understudy.agent.v1.SystemdService/StartUnit`"},
		{errs.Hint{Actions: []errs.Action{errs.Call("FromTomorrow", "a", "b")}},
			"`FromTomorrow a=b`"},
	}
	for _, test := range tests {
		if got := Text(test.hint); got != test.want {
			t.Errorf("%v is shown as\n%s\nwant\n%s", test.hint, got, test.want)
		}
	}
}

// Each command names a method of the control plane, and fields that its request has.
func TestCommandsFitTheAPI(t *testing.T) {
	t.Parallel()
	for method, template := range commands {
		request := requestOf(method)
		if request == nil {
			t.Errorf("the control plane has no method %s", method)
			continue
		}
		for _, name := range field.FindAllString(template, -1) {
			if name := name[1 : len(name)-1]; name != "file" && !has(request, name) {
				t.Errorf("%s has no field %s", request.FullName(), name)
			}
		}
	}
}

func requestOf(method string) (request protoreflect.MessageDescriptor) {
	protoregistry.GlobalFiles.RangeFilesByPackage("understudy.controlplane.v1",
		func(file protoreflect.FileDescriptor) bool {
			for i := range file.Services().Len() {
				if m := file.Services().Get(i).Methods().ByName(
					protoreflect.Name(method)); m != nil {
					request = m.Input()
				}
			}
			return request == nil
		})
	return request
}

func has(m protoreflect.MessageDescriptor, path string) bool {
	first, rest, nested := strings.Cut(path, ".")
	f := m.Fields().ByName(protoreflect.Name(first))
	return f != nil && (!nested || has(f.Message(), rest))
}

// Each call that an error of the tree advises has a command that shows all of its fields, or is one
// of the agents'.
func TestEveryAdvisedCallHasACommand(t *testing.T) {
	t.Parallel()
	root, found := "../../../../..", 0
	for _, part := range []string{"agent", "controlplane", "proto"} {
		err := filepath.WalkDir(filepath.Join(root, part),
			func(path string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") ||
					strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".pb.go") {
					return err
				}
				file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
				if err != nil {
					return err
				}
				ast.Inspect(file, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok && isCall(call.Fun) {
						found++
						checkCall(t, path, call)
					}
					return true
				})
				return nil
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no error of the tree advises a call: the scan is broken")
	}
}

func isCall(fun ast.Expr) bool {
	selector, ok := fun.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != "Call" {
		return false
	}
	of, ok := selector.X.(*ast.Ident)
	return ok && of.Name == "errs"
}

func checkCall(t *testing.T, path string, call *ast.CallExpr) {
	texts := make([]string, len(call.Args))
	for i, arg := range call.Args {
		if lit, ok := arg.(*ast.BasicLit); ok {
			texts[i], _ = strconv.Unquote(lit.Value)
		}
	}
	method := texts[0][strings.LastIndexAny(texts[0], "./")+1:]
	if method == "" || agentService(method) != "" {
		return
	}
	template, ok := commands[method]
	if !ok {
		t.Errorf("%s advises %s, which has no command", path, method)
	}
	for i := 1; i < len(texts); i += 2 {
		if known := field.FindAllString(template, -1); texts[i] != "" &&
			!slices.Contains(known, "{"+texts[i]+"}") {
			t.Errorf("%s advises %s with %s, which its command does not show", path, method,
				texts[i])
		}
	}
}
