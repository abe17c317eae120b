package house_test

import (
	"go/ast"
	"strings"
	"testing"
)

// judgedSettings are the names that the functions of a file judge settings by: the keys of their
// maps and the texts of their lists, without spaces.
func judgedSettings(parsed *ast.File, functions ...string) (names []string) {
	ast.Inspect(parsed, func(n ast.Node) bool {
		f, is := n.(*ast.FuncDecl)
		if !is {
			return true
		}
		for _, name := range functions {
			if f.Name.Name == name {
				names = append(names, keysIn(f)...)
			}
		}
		return false
	})
	return names
}

func keysIn(f *ast.FuncDecl) (names []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			if name, is := literal(n.Key); is {
				names = append(names, name)
			}
		case *ast.RangeStmt:
			list, is := n.X.(*ast.CompositeLit)
			for i := 0; is && i < len(list.Elts); i++ {
				if suffix, is := literal(list.Elts[i]); is {
					names = append(names, "replicate_"+suffix)
				}
			}
		}
		return true
	})
	return names
}

// What the control plane judges a server's settings by, its agent tells: a name that neither side
// shares is a setting that nobody looks at. The names of consistentpoint are shared as they are.
func TestAgentsTellTheSettingsThatAreJudged(t *testing.T) {
	t.Parallel()
	const judges = "controlplane/internal/replication/losses.go"
	told := string(read(t, "agent/internal/mariadb/losses.go"))
	names := judgedSettings(parse(t, judges, read(t, judges)), "logLosses", "applyLosses")
	if len(names) < 20 {
		t.Errorf("few names were found: %q", names)
	}
	for _, name := range names {
		if !strings.Contains(told, `"`+name+`"`) && !strings.Contains(told, " AS "+name+" ") {
			t.Errorf("%s is judged, and agent/internal/mariadb/losses.go does not tell it", name)
		}
	}
}

func TestJudgedSettingsAreFound(t *testing.T) {
	t.Parallel()
	parsed := parse(t, "p.go", []byte(`package p
func a() map[string]int {
	all := map[string]int{"x_y": 1}
	for _, s := range []string{"db"} { all[s] = 1 }
	return all
}
func b() map[string]int { return map[string]int{"z": 1} }`))
	if got := strings.Join(judgedSettings(parsed, "a"), " "); got != "x_y replicate_db" {
		t.Errorf("found %q", got)
	}
}
