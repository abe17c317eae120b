package wire_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

func self(s string) string { return s }

func TestPagesTogetherAreTheList(t *testing.T) {
	t.Parallel()
	var all []string
	for i := range 7 {
		all = append(all, fmt.Sprintf("unit-%d", i))
	}
	for size := int32(1); size < 9; size++ {
		var got []string
		token := ""
		for {
			page, next, err := wire.Page(all, self, size, token)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page...)
			if token = next; token == "" {
				break
			}
		}
		if !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v", size, got)
		}
	}
}

func TestAListThatChangesBetweenPages(t *testing.T) {
	t.Parallel()
	_, token, err := wire.Page([]string{"a", "b", "c"}, self, 2, "")
	if err != nil {
		t.Fatal(err)
	}
	page, next, err := wire.Page([]string{"a", "bb", "c"}, self, 2, token)
	if err != nil || !slices.Equal(page, []string{"bb", "c"}) || next != "" {
		t.Errorf("page = %v, %q, %v", page, next, err)
	}
}

func TestBadPages(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"x", "!!", "YWJj"} {
		if _, _, err := wire.Page([]string{"a"}, self, 0, bad); err == nil ||
			errs.KindOf(err) != errs.InvalidArgument {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
