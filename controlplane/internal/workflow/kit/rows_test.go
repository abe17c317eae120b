package kit_test

import (
	"slices"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

func TestMovedTablesAreFound(t *testing.T) {
	t.Parallel()
	before := []kit.Table{{Name: "a.gone"}, {Name: "a.same", Created: "1"},
		{Name: "a.swapped", Created: "1"}}
	now := []kit.Table{{Name: "a.made"}, {Name: "a.same", Created: "1", Rows: 7},
		{Name: "a.swapped", Created: "2"}}
	var got []string
	for _, table := range kit.Moved(kit.Listed(before), now) {
		got = append(got, table.Name)
	}
	if !slices.Equal(got, []string{"a.made", "a.swapped"}) {
		t.Error(got)
	}
}
