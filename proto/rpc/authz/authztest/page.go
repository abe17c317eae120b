package authztest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// Page holds a section of the page at path, between <!-- name --> and <!-- /name -->, to the rules,
// or with update writes it.
func Page(t *testing.T, path, name string, rules authz.Table, update bool) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, found := strings.Cut(string(old), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no section %s", path, name)
	}
	want := before + begin + table(rules) + end + after
	switch {
	case string(old) == want:
	case !update:
		t.Errorf("%s is not what the rules say: run this test with -update", path)
	default:
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// table is the rules as a table of Markdown, a row a method.
func table(rules authz.Table) string {
	operators := identity.Operators()
	for _, roles := range rules {
		if slices.Contains(roles, identity.RoleBreakGlass) {
			operators = append(identity.Operators(), identity.RoleBreakGlass)
		}
	}
	var out strings.Builder
	out.WriteString("| service | call |")
	for _, role := range operators {
		fmt.Fprintf(&out, " %s |", role)
	}
	out.WriteString(" others | recorded |\n| --- | --- |" +
		strings.Repeat(" --- |", len(operators)+2) + "\n")
	for _, method := range slices.Sorted(maps.Keys(rules)) {
		service, call, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
		fmt.Fprintf(&out, "| %s | %s |", service[strings.LastIndex(service, ".")+1:], call)
		for _, role := range operators {
			out.WriteString(map[bool]string{true: " yes |", false: " |"}[slices.Contains(
				rules[method], role)])
		}
		out.WriteString(" " + strings.Join(others(rules[method], operators), ", ") + " |")
		out.WriteString(map[bool]string{true: " yes |\n", false: " |\n"}[authz.Changes(method)])
	}
	return strings.ReplaceAll(out.String(), "|  |", "| |")
}

// others are the roles beside those, in words.
func others(roles, beside []identity.Role) (names []string) {
	words := map[identity.Role]string{identity.RoleAnonymous: "machines without a certificate",
		identity.RoleAgent: "agents", identity.RoleControlPlane: "the control plane"}
	for _, role := range roles {
		if !slices.Contains(beside, role) {
			names = append(names, words[role])
		}
	}
	return names
}
