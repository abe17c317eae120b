package refusals

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func argument(call *ast.CallExpr, at int) ast.Expr {
	if at < 0 || at >= len(call.Args) {
		return nil
	}
	return call.Args[at]
}

// option is the argument of the option of that name among a call's options, for example of
// errs.Hint.
func (u *unit) option(call *ast.CallExpr, option string) ast.Expr {
	var found ast.Expr
	for _, arg := range slices.Concat(call.Args, u.given(call)) {
		ast.Inspect(arg, func(n ast.Node) bool {
			inner, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if called(inner) == option && len(inner.Args) > 0 {
				found = inner.Args[len(inner.Args)-1]
				if option == "WithHint" { // the calls stand behind the text
					found = inner.Args[0]
				}
			}
			return true
		})
	}
	return found
}

func called(call *ast.CallExpr) string { return name(call.Fun) }

// given are the values of variables that hold a call's options, one or all of them.
func (u *unit) given(call *ast.CallExpr) []ast.Expr {
	var all []ast.Expr
	for i, arg := range call.Args {
		id, ok := arg.(*ast.Ident)
		if !ok {
			continue
		}
		if value, ok := u.consts[id.Name]; ok {
			all = append(all, value)
		}
		if i == len(call.Args)-1 && call.Ellipsis.IsValid() {
			all = append(all, u.locals[id.Name]...)
		}
	}
	return all
}

func (u *unit) way(call *ast.CallExpr, m maker) ast.Expr {
	if way := argument(call, m.way); way != nil {
		return hintText(way)
	}
	if way := u.option(call, "WithHint"); way != nil {
		return way
	}
	for _, arg := range call.Args { // a hint that a function or a variable has
		if id, ok := arg.(*ast.Ident); ok {
			if hint, ok := u.consts[id.Name].(*ast.CallExpr); ok && called(hint) == "WithHint" {
				return hint.Args[0]
			}
		}
		if strings.HasSuffix(strings.ToLower(calledOrNamed(arg)), "hint") {
			return arg
		}
	}
	if m.fixedWay != "" || m.way >= 0 {
		return nil
	}
	return u.option(call, "Field") // what a field must be is the hint
}

func calledOrNamed(e ast.Expr) string {
	if call, ok := e.(*ast.CallExpr); ok {
		return called(call)
	}
	return name(e)
}

// hintText is the text of a hint that is given as an option.
func hintText(e ast.Expr) ast.Expr {
	call, ok := e.(*ast.CallExpr)
	if ok && len(call.Args) > 0 && (called(call) == "WithHint" || called(call) == "Hint") {
		return call.Args[0]
	}
	return e
}

func (u *unit) wayOf(call *ast.CallExpr, m maker) string {
	way := u.way(call, m)
	if way == nil {
		if m.fixedWay == "" && strings.Contains(u.folder, "internal/provider") {
			return u.meant[u.kindOf(call, m)].way
		}
		return m.fixedWay
	}
	return strings.Join(u.texts(way), " / ")
}

func (u *unit) kindOf(call *ast.CallExpr, m maker) string {
	if e := argument(call, m.kind); e != nil {
		return strings.TrimPrefix(name(e), "Err")
	}
	return m.fixedKind
}

// reasonsOf are the reasons that a place may give: more than one where a variable is given one of
// several.
func (u *unit) reasonsOf(call *ast.CallExpr, m maker) []string {
	e := argument(call, m.reason)
	if e == nil {
		return []string{m.fixedReason}
	}
	values := []ast.Expr{e}
	if id, ok := e.(*ast.Ident); ok && len(u.locals[id.Name]) > 0 {
		values = u.locals[id.Name]
	}
	var all []string
	for _, v := range values {
		all = append(all, strings.TrimPrefix(name(v), reasonPrefix))
	}
	return all
}

// cause shows that the text goes on with that of another error.
func (u *unit) cause(call *ast.CallExpr) string {
	if cause := u.option(call, "Wrap"); cause != nil {
		return ": {" + name(cause) + "}"
	}
	return ""
}

func isFormat(call *ast.CallExpr) bool {
	return len(call.Args) > 0 && (strings.EqualFold(name(call.Fun), "sprintf"))
}

// texts are what an expression may say: more than one where a variable is given one of several.
func (u *unit) texts(e ast.Expr) []string {
	if id, ok := e.(*ast.Ident); ok && u.param(e) < 0 {
		var all []string
		for _, value := range u.locals[id.Name] {
			if text := u.text(value, 0); !strings.HasPrefix(text, "{"+id.Name+"}") {
				all = append(all, text)
			}
		}
		if len(all) > 0 {
			return all
		}
	}
	return []string{u.text(e, 0)}
}

// text is what an expression says, with names in braces for what only a run knows.
func (u *unit) text(e ast.Expr, depth int) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
	case *ast.ParenExpr:
		return u.text(e.X, depth)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return u.text(e.X, depth) + u.text(e.Y, depth)
		}
	case *ast.CallExpr:
		if isFormat(e) {
			return u.format(e, depth)
		}
		if text := hintText(e); text != ast.Expr(e) {
			return u.text(text, depth)
		}
	case *ast.Ident:
		if value, ok := u.consts[e.Name]; ok && depth < 3 && u.param(e) < 0 &&
			len(u.locals[e.Name]) == 0 {
			return u.text(hintText(value), depth+1)
		}
	}
	return "{" + name(e) + "}"
}

func (u *unit) format(call *ast.CallExpr, depth int) string {
	format := u.text(call.Args[0], depth)
	return named(format, call.Args[1:])
}

var verb = regexp.MustCompile(`%[-+# 0]*(\d+|\*)?(\.\d+)?[a-zA-Z]`)

// named puts the arguments' names where the verbs are.
func named(format string, args []ast.Expr) string {
	at := 0
	return strings.ReplaceAll(verb.ReplaceAllStringFunc(format, func(string) string {
		at++
		if at > len(args) {
			return "{…}"
		}
		return "{" + name(args[at-1]) + "}"
	}), "%%", "%")
}

// name is the last word of an expression: what a reader needs to know of it.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		if inner := last(e.Args); inner != "" && inner != "…" {
			return inner
		}
		return name(e.Fun)
	case *ast.IndexExpr:
		return name(e.X)
	case *ast.StarExpr:
		return name(e.X)
	case *ast.UnaryExpr:
		return name(e.X)
	case *ast.SliceExpr:
		return name(e.X)
	}
	return "…"
}

func last(args []ast.Expr) string {
	if len(args) == 0 {
		return ""
	}
	return name(args[0])
}
