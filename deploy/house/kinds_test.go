package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	controlPlane = "controlplane/"
	workflows    = "controlplane/internal/workflow/"
	// providers know no jobs, and have kinds of their own.
	providers = "controlplane/internal/provider/"
	module    = "github.com/understudy-db/understudy/"
)

// sources are the Go files of the control plane without tests and generated code, parsed, by path.
type sources map[string]*ast.File

func controlPlaneSources(t *testing.T) sources {
	t.Helper()
	all := sources{}
	for _, file := range files(t) {
		if path.Ext(file) == ".go" && strings.HasPrefix(file, controlPlane) &&
			!strings.HasPrefix(file, providers) && !strings.HasSuffix(file, "_test.go") &&
			!strings.HasSuffix(file, ".pb.go") {
			all[file] = parse(t, file, read(t, file))
		}
	}
	return all
}

func parse(t *testing.T, file string, src []byte) *ast.File {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// constants are the texts of constants, by folder and name.
type constants map[string]string

func (s sources) constants() constants {
	all := constants{}
	for file, parsed := range s {
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, value := range spec.Values {
				if text, ok := literal(value); ok {
					all[path.Dir(file)+"."+spec.Names[i].Name] = text
				}
			}
			return true
		})
	}
	return all
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

// text is what an expression says: a literal, or a constant of this folder or an imported one.
func (c constants) text(file string, parsed *ast.File, e ast.Expr) string {
	if text, ok := literal(e); ok {
		return text
	}
	switch e := e.(type) {
	case *ast.Ident:
		return c[path.Dir(file)+"."+e.Name]
	case *ast.SelectorExpr:
		for _, imported := range parsed.Imports {
			from, _ := literal(imported.Path)
			name := path.Base(from)
			if imported.Name != nil {
				name = imported.Name.Name
			}
			if x, ok := e.X.(*ast.Ident); ok && x.Name == name {
				return c[strings.TrimPrefix(from, module)+"."+e.Sel.Name]
			}
		}
	}
	return ""
}

// names are the folders that a kind of job or a step of that name is made in.
func (s sources) names(c constants) map[string][]string {
	all := map[string][]string{}
	for file, parsed := range s {
		if !strings.HasPrefix(file, workflows) {
			continue
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			made, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			fields := map[string]ast.Expr{}
			for _, elt := range made.Elts {
				if kv, ok := elt.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.Ident); ok {
						fields[key.Name] = kv.Value
					}
				}
			}
			if fields["Name"] == nil || fields["Title"] == nil { // neither kit.Kind nor kit.Step
				return true
			}
			if name := c.text(file, parsed, fields["Name"]); name != "" {
				all[name] = append(all[name], path.Dir(file))
			}
			return true
		})
	}
	return all
}

// comparisons are the names of kinds and steps that a file of another folder compares something
// with. A name of one word counts where a kind or a step is compared, as it may mean another thing.
func comparisons(file string, parsed *ast.File, c constants, names map[string][]string) []string {
	var found []string
	compare := func(what, with ast.Expr) {
		name := c.text(file, parsed, with)
		in, ok := names[name]
		if ok && !slices.Contains(in, path.Dir(file)) && (strings.Contains(name, "_") ||
			ofAJob(what)) {
			found = append(found, name)
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if n.Op == token.EQL || n.Op == token.NEQ {
				compare(n.X, n.Y)
				compare(n.Y, n.X)
			}
		case *ast.SwitchStmt:
			for _, clause := range n.Body.List {
				for _, e := range clause.(*ast.CaseClause).List {
					compare(n.Tag, e)
				}
			}
		case *ast.CallExpr:
			if called, ok := n.Fun.(*ast.SelectorExpr); ok && comparing[called.Sel.Name] {
				for _, with := range n.Args {
					if part, ok := literal(with); ok && slices.ContainsFunc(n.Args, ofAJob) {
						found = append(found, part)
					} else {
						compare(n, with)
					}
				}
			}
		}
		return true
	})
	return found
}

// comparing are functions that compare texts, or parts of them.
var comparing = map[string]bool{"HasPrefix": true, "HasSuffix": true, "Contains": true,
	"EqualFold": true, "Cut": true}

// ofAJob reports whether an expression is named after a kind or a step, or is made of one.
func ofAJob(e ast.Expr) bool {
	name := ""
	switch e := e.(type) {
	case *ast.Ident:
		name = e.Name
	case *ast.SelectorExpr:
		name = e.Sel.Name
	case *ast.CallExpr:
		return ofAJob(e.Fun) || len(e.Args) == 1 && ofAJob(e.Args[0])
	}
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "kind") || strings.HasSuffix(name, "step")
}

// What is special about a kind of job or a step is a field of it, or code of its own package.
func TestNobodyAsksForAKindOrAStep(t *testing.T) {
	t.Parallel()
	all := controlPlaneSources(t)
	c := all.constants()
	names := all.names(c)
	for _, name := range []string{"create_replica", "verify_replica", "swap_volume", "settle"} {
		if len(names[name]) == 0 {
			t.Errorf("%s was not found among %d names", name, len(names))
		}
	}
	for file, parsed := range all {
		for _, name := range comparisons(file, parsed, c, names) {
			t.Errorf("%s compares with %s: say it with a field of the kind or the step", file,
				name)
		}
	}
}

func TestComparisonsWithKindsAndStepsAreFound(t *testing.T) {
	t.Parallel()
	all := controlPlaneSources(t)
	c := all.constants()
	names := all.names(c)
	const file = controlPlane + "internal/app/planted.go"
	for src, want := range map[string]int{
		`func f(j job) bool { return j.Kind == "create_replica" }`:                1,
		`func f(j job) bool { return replicate.KindCreateReplica != j.Kind }`:     1,
		`func f(s step) { switch s.Kind { case "plan", "settle": } }`:             2,
		`func f(s string) { switch { case s == "swap_volume": } }`:                1,
		`func f(j job) bool { return j.kind() == "delete_server" }`:               1,
		`func f(verb string) bool { return verb == "verify" || verb == "plan" }`:  0,
		`func f() string { return "create_replica" }`:                             0,
		`func f(j job) bool { return strings.HasPrefix(word(j.GetKind()), "x") }`: 1,
		`func f(j job) bool { return slices.Contains(all, "swap_volume") }`:       1,
	} {
		parsed := parse(t, file, []byte("package app\nimport \""+module+workflows+
			"replicate\"\n"+src))
		if found := comparisons(file, parsed, c, names); len(found) != want {
			t.Errorf("%s: found %v, want %d", src, found, want)
		}
	}
}
