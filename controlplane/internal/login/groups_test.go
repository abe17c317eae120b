package login_test

import (
	"os"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestWhatGroupsMayDo(t *testing.T) {
	t.Parallel()
	groups, err := login.ReadGroups(write(t, groupsFile))
	must(t, err)
	for _, test := range []struct {
		in      []string
		role    identity.Role
		servers []string
	}{
		{nil, "", nil},
		{[]string{}, "", nil},
		{[]string{""}, "", nil},
		{[]string{"unknown"}, "", nil},
		{[]string{"DBA"}, "", nil},
		{[]string{"dba "}, "", nil},
		{[]string{"dba"}, identity.RoleAdmin, []string{"*"}},
		{[]string{"everybody", "dba", "shop"}, identity.RoleAdmin, []string{"*"}},
		{[]string{"shop"}, identity.RoleOperator, []string{"shop-*"}},
		{[]string{"web", "shop"}, identity.RoleOperator, []string{"shop-*", "web-*"}},
		{[]string{"shop", "all"}, identity.RoleOperator, []string{"*"}},
		// who only reads all servers does not change them
		{[]string{"shop", "everybody"}, identity.RoleOperator, []string{"shop-*"}},
		{[]string{"everybody"}, identity.RoleViewer, []string{"*"}},
	} {
		role, servers := groups.Of(test.in)
		if role != test.role || !slices.Equal(servers, test.servers) {
			t.Errorf("%v: %s on %v", test.in, role, servers)
		}
	}
}

func TestAGroupsFileThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "groups:", "groups: []", "groups: {}", "{}", "- dba",
		"groups: [{group: dba}]",
		"groups: [{role: admin}]",
		"groups: [{group: '', role: admin}]",
		"groups: [{group: dba, role: root}]",
		"groups: [{group: dba, role: break_glass}]",
		"groups: [{group: dba, role: controlplane}]",
		"groups: [{group: dba, role: admin, servers: [shop]}]",
		"groups: [{group: dba, role: viewer, servers: []}]",
		"groups: [{group: dba, role: viewer, servers: ['']}]",
		"groups: [{group: dba, role: viewer, servers: ['shop; x']}]",
		"groups: [{group: dba, role: viewer, server: [shop]}]",
		"groups: [{group: dba, role: viewer}]\n---\ngroups: [{group: all, role: admin}]",
	} {
		if groups, err := login.ReadGroups(write(t, text)); err == nil {
			t.Errorf("%q is taken: %v", text, groups)
		}
	}
	open := write(t, groupsFile)
	for _, mode := range []os.FileMode{0o620, 0o602, 0o666} {
		must(t, os.Chmod(open, mode))
		if _, err := login.ReadGroups(open); err == nil {
			t.Errorf("a file of mode %o is taken", mode)
		}
	}
	if _, err := login.ReadGroups(t.TempDir()); err == nil {
		t.Error("a folder is taken")
	}
}

// Who is in no group of the file is refused. The file counts as it is when somebody logs in.
func TestAdmission(t *testing.T) {
	t.Parallel()
	file := write(t, groupsFile)
	d := newDesk(t, func(c *login.Config) { c.GroupsFile = file })
	admit := func(change func(map[string]any)) (identity.Role, error) {
		t.Helper()
		v, err := d.verify(d.key.Sign(d.with(change)))
		must(t, err)
		role, _, err := d.Admit(v)
		return role, err
	}
	if role, err := admit(nil); role != identity.RoleAdmin || err != nil {
		t.Errorf("%s, %v", role, err)
	}
	for what, change := range map[string]func(map[string]any){
		"no claim":      func(c map[string]any) { delete(c, "groups") },
		"null":          func(c map[string]any) { c["groups"] = nil },
		"no group":      func(c map[string]any) { c["groups"] = []string{} },
		"another group": func(c map[string]any) { c["groups"] = "dba2" },
		"left out": func(c map[string]any) {
			delete(c, "groups")
			c["_claim_names"] = map[string]string{"groups": "src1"}
			c["_claim_sources"] = map[string]any{"src1": map[string]string{
				"endpoint": "http://169.254.169.254/"}}
		},
	} {
		role, err := admit(change)
		if role != "" || errs.ReasonOf(err) != errorsv1.Reason_REASON_NO_ROLE ||
			errs.HintOf(err).String() == "" {
			t.Errorf("%s: %s, %v", what, role, err)
		}
	}
	must(t, os.WriteFile(file, []byte("groups: [{group: dba, role: viewer}]"), 0o600))
	if role, err := admit(nil); role != identity.RoleViewer || err != nil {
		t.Errorf("after a change: %s, %v", role, err)
	}
	must(t, os.WriteFile(file, []byte("groups: [{group: dba, role: viewer"), 0o600))
	if role, err := admit(nil); role != "" ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_LOGIN_NOT_CONFIGURED {
		t.Errorf("of half a file: %s, %v", role, err)
	}
}
