// Package refusals reads all refusals of the product out of its source, so that their texts are
// seen together, as prose, in docs/errors.md.
package refusals

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Refusal is one place of the source that turns something down. Words in braces stand for what is
// known only when it happens.
type Refusal struct {
	// Package is the folder, from the root of the tree.
	Package string
	// Kind is what the caller can do about it, as errs names it.
	Kind string
	// Reason is the word for programs, without its prefix.
	Reason string
	// Text says what is wrong and where, Way how to get out.
	Text, Way string
}

// maker is a function that makes a refusal of its arguments: where each of them stands; -1 is
// nowhere.
type maker struct {
	kind, reason, text, way int
	// What the function itself says, where no argument does.
	fixedKind, fixedReason, fixedWay string
}

// base are the makers that all others stand on, by package and name.
func base() map[string]maker {
	return map[string]maker{
		"errs.New":         {kind: 0, reason: 1, text: 2, way: -1},
		"provider.Errorf":  {kind: 0, reason: -1, text: 2, way: -1},
		"provider.Because": {kind: 1, reason: -1, text: 3, way: -1},
		"inventory.NotFound": {kind: -1, reason: -1, text: 1, way: 0, fixedKind: "NotFound",
			fixedReason: "NOT_FOUND"},
		"kit.AskOperator": {kind: -1, reason: -1, text: 0, way: 1,
			fixedKind: "FailedPrecondition", fixedReason: "ACTION_REQUIRED"},
	}
}

// unit is one function of the product with what is needed to read it.
type unit struct {
	folder, pkg string
	fn          *ast.FuncDecl
	consts      map[string]ast.Expr
	locals      map[string][]ast.Expr
	meant       map[string]meaning // of the provider's kinds of errors
}

// Scan reads the product under root, with the reasons that callers are given.
func Scan(root string) ([]Refusal, error) {
	units, err := load(root)
	if err != nil {
		return nil, err
	}
	meant, err := meanings(root)
	if err != nil {
		return nil, err
	}
	makers := base()
	for _, u := range units {
		u.meant = meant
	}
	for range 3 { // a maker may stand on a maker
		for _, u := range units {
			u.learn(makers)
		}
	}
	var all []Refusal
	for _, u := range units {
		if _, made := makers[u.pkg+"."+u.fn.Name.Name]; !made {
			all = append(all, u.refusals(makers)...)
		}
	}
	for i := range all {
		all[i].translate(meant)
	}
	return slices.DeleteFunc(all, func(r Refusal) bool { return !r.own() }), nil
}

// meaning is what callers see of a kind of the provider's errors.
type meaning struct{ kind, reason, way string }

// meanings reads them from the table of the provider.
func meanings(root string) (map[string]meaning, error) {
	file, err := parse(root, "controlplane/internal/provider/errors.go")
	if err != nil {
		return nil, err
	}
	all := map[string]meaning{}
	ast.Inspect(file, func(n ast.Node) bool {
		pair, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		value, ok := pair.Value.(*ast.CompositeLit)
		if !ok || len(value.Elts) != 3 {
			return true
		}
		all[strings.TrimPrefix(name(pair.Key), "Err")] = meaning{name(value.Elts[0]),
			strings.TrimPrefix(name(value.Elts[1]), reasonPrefix),
			(&unit{}).text(hintText(value.Elts[2]), 0)}
		return true
	})
	return all, nil
}

func parse(root, name string) (*ast.File, error) {
	return parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil,
		parser.SkipObjectResolution)
}

const reasonPrefix = "Reason_REASON_"

// translate gives a refusal of the provider the kind and the reason that callers see.
func (r *Refusal) translate(meant map[string]meaning) {
	if m, ok := meant[r.Kind]; ok && r.Reason == "" {
		r.Kind, r.Reason = m.kind, m.reason
	}
}

// own reports whether a place says anything of its own: it does not when it hands on what it is
// given.
func (r *Refusal) own() bool {
	return placeholder.ReplaceAllString(strings.Trim(r.Text, ": "), "") != ""
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

func load(root string) ([]*unit, error) {
	var all []*unit
	for _, folder := range []string{"agent/internal", "controlplane/internal", "proto/rpc",
		"proto/gtid"} {
		err := filepath.WalkDir(filepath.Join(root, folder),
			func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.IsDir() || skipped(d.Name()) {
					if err == nil && d.IsDir() {
						return filepath.SkipDir
					}
					return err
				}
				units, err := loadPackage(root, path)
				all = append(all, units...)
				return err
			})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// skipped are folders that hold tests and doubles.
func skipped(name string) bool {
	switch name {
	case "testdata", "lab", "apptest", "workflowtest", "mariadbtest", "hosttest", "storetest",
		"providertest", "identitytest", "ec2lab":
		return true
	}
	return false
}

func loadPackage(root, path string) ([]*unit, error) {
	files, err := filepath.Glob(filepath.Join(path, "*.go"))
	if err != nil {
		return nil, err
	}
	var units []*unit
	consts := map[string]ast.Expr{}
	folder, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.GenDecl:
				constants(d, consts)
			case *ast.FuncDecl:
				if d.Body != nil {
					units = append(units, &unit{folder: folder, pkg: file.Name.Name, fn: d,
						consts: consts, locals: assigned(d)})
				}
			}
		}
	}
	return units, nil
}

func constants(d *ast.GenDecl, into map[string]ast.Expr) {
	for _, spec := range d.Specs {
		if v, ok := spec.(*ast.ValueSpec); ok && len(v.Names) == len(v.Values) {
			for i, name := range v.Names {
				into[name.Name] = v.Values[i]
			}
		}
	}
}

// assigned are the values that a function gives to each of its variables.
func assigned(fn *ast.FuncDecl) map[string][]ast.Expr {
	all := map[string][]ast.Expr{}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch a := n.(type) {
		case *ast.AssignStmt:
			if len(a.Lhs) != len(a.Rhs) || a.Tok == token.ADD_ASSIGN {
				return true
			}
			for i, left := range a.Lhs {
				if name, ok := left.(*ast.Ident); ok {
					all[name.Name] = append(all[name.Name], a.Rhs[i])
				}
			}
		case *ast.GenDecl:
			local := map[string]ast.Expr{}
			constants(a, local)
			for name, value := range local {
				all[name] = append(all[name], value)
			}
		}
		return true
	})
	return all
}

// learn adds the function to the makers when all that it says comes from its arguments.
func (u *unit) learn(makers map[string]maker) {
	key := u.pkg + "." + u.fn.Name.Name
	if _, known := makers[key]; known || u.fn.Recv != nil {
		return
	}
	made, texts := maker{}, 0
	u.calls(makers, func(call *ast.CallExpr, m maker) {
		texts++
		text := u.param(argument(call, m.text))
		if text < 0 {
			texts++ // it says something of its own
			return
		}
		made = maker{text: text, kind: u.param(argument(call, m.kind)),
			reason: u.param(argument(call, m.reason)), way: u.param(u.way(call, m))}
		made.fixedKind, made.fixedReason = u.kindOf(call, m), u.reasonsOf(call, m)[0]
		if made.way < 0 {
			made.fixedWay = u.wayOf(call, m)
		}
	})
	if texts == 1 {
		makers[key] = made
	}
}

// param is the place of the parameter that an expression passes on, formatted or not; -1 for any
// other.
func (u *unit) param(e ast.Expr) int {
	if call, ok := e.(*ast.CallExpr); ok && isFormat(call) {
		e = call.Args[0]
	}
	name, ok := e.(*ast.Ident)
	if !ok {
		return -1
	}
	place := 0
	for _, field := range u.fn.Type.Params.List {
		for _, p := range field.Names {
			if p.Name == name.Name {
				return place
			}
			place++
		}
	}
	return -1
}

// calls gives each call of a maker in the function.
func (u *unit) calls(makers map[string]maker, found func(*ast.CallExpr, maker)) {
	ast.Inspect(u.fn, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if m, ok := makers[u.callee(call)]; ok {
				found(call, m)
			}
		}
		return true
	})
}

func (u *unit) callee(call *ast.CallExpr) string {
	switch fn := call.Fun.(type) {
	case *ast.Ident:
		return u.pkg + "." + fn.Name
	case *ast.SelectorExpr:
		if pkg, ok := fn.X.(*ast.Ident); ok {
			return pkg.Name + "." + fn.Sel.Name
		}
	}
	return ""
}

func (u *unit) refusals(makers map[string]maker) []Refusal {
	var all []Refusal
	u.calls(makers, func(call *ast.CallExpr, m maker) {
		for _, text := range u.texts(argument(call, m.text)) {
			for _, reason := range u.reasonsOf(call, m) {
				all = append(all, Refusal{Package: u.folder, Kind: u.kindOf(call, m),
					Reason: reason, Text: named(text, call.Args[m.text+1:]) + u.cause(call),
					Way: u.wayOf(call, m)})
			}
		}
	})
	return all
}
