package mariadb

import (
	"fmt"
	"testing"
)

func TestPagesOfAList(t *testing.T) {
	t.Parallel()
	all := make([]Table, 0, 2500)
	for n := range cap(all) {
		all = append(all, Table{Name: fmt.Sprintf("app.t%04d", n)})
	}
	var l tableList
	if _, listed := l.page("app.t0999"); listed {
		t.Error("a page of no list")
	}
	l.keep(all)
	for _, test := range []struct {
		after, first string
		count        int
	}{
		{"", "app.t0000", 1000}, {"app.t0999", "app.t1000", 1000}, {"app.t1999", "app.t2000", 500},
		{"app.t2499", "", 0}, {"app.t0999a", "app.t1000", 1000}, {"b", "", 0},
	} {
		page, listed := l.page(test.after)
		if !listed || len(page) != test.count || len(page) > 0 && page[0].Name != test.first {
			t.Errorf("behind %q: %d tables, %v", test.after, len(page), listed)
		}
	}
	l.keep([]Table{}) // a server without tables
	if page, listed := l.page("app.t0999"); !listed || len(page) > 0 {
		t.Errorf("of an empty list: %v, %v", page, listed)
	}
}
