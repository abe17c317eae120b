package house_test

import (
	"go/ast"
	"path"
	"strings"
	"testing"
)

// maxMethods is how many methods a type of the product may have: a reader keeps no more in mind.
const maxMethods = 39

// product says whether a file is the product's own code: no test, no lab, nothing generated.
func product(file string) bool {
	for _, part := range []string{"/lab/", "test/", "/understudy-lab/"} {
		if strings.Contains(file, part) {
			return false
		}
	}
	return path.Ext(file) == ".go" && !strings.HasPrefix(file, "deploy/") &&
		!strings.HasSuffix(file, "_test.go") && !strings.HasSuffix(file, ".pb.go") &&
		!strings.HasSuffix(file, "_gen.go")
}

// methods counts the methods that a file declares, by type.
func methods(file *ast.File) map[string]int {
	all := map[string]int{}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Recv == nil {
			continue
		}
		of := f.Recv.List[0].Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		switch generic := of.(type) {
		case *ast.IndexExpr:
			of = generic.X
		case *ast.IndexListExpr:
			of = generic.X
		}
		all[of.(*ast.Ident).Name]++
	}
	return all
}

// A type has one topic.
func TestNoTypeHasTooManyMethods(t *testing.T) {
	t.Parallel()
	all := map[string]int{}
	for _, file := range files(t) {
		if product(file) {
			for name, n := range methods(parse(t, file, read(t, file))) {
				all[path.Dir(file)+"."+name] += n
			}
		}
	}
	if all["agent/internal/mariadb.Server"] == 0 {
		t.Errorf("agent/internal/mariadb.Server was not found among %d types", len(all))
	}
	for name, n := range all {
		if n > maxMethods {
			t.Errorf("%s has %d methods, want at most %d: give each topic a type of its own",
				name, n, maxMethods)
		}
	}
}

func TestMethodsAreCounted(t *testing.T) {
	t.Parallel()
	found := methods(parse(t, "planted.go", []byte("package p\ntype a struct{}\n"+
		"func (a) x() {}\nfunc (*a) y() {}\ntype b[T any] struct{}\nfunc (*b[T]) x() {}\n"+
		"type c[K, V any] struct{}\nfunc (c[K, V]) x() {}\nfunc f() {}")))
	if len(found) != 3 || found["a"] != 2 || found["b"] != 1 || found["c"] != 1 {
		t.Errorf("%v", found)
	}
}
