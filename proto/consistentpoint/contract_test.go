package consistentpoint_test

import (
	"slices"
	"testing"

	"github.com/understudy-db/understudy/proto/consistentpoint"
)

func TestSettingsAreNamedOnce(t *testing.T) {
	t.Parallel()
	all := slices.Concat(consistentpoint.DefinitionSettings(), consistentpoint.RowSettings())
	slices.Sort(all)
	if once := slices.Compact(slices.Clone(all)); len(once) != len(all) {
		t.Errorf("one of them is there twice: %q", all)
	}
	for _, name := range consistentpoint.StaticSettings() {
		if !slices.Contains(all, name) {
			t.Errorf("%s is compared nowhere", name)
		}
	}
	for _, name := range all {
		if with := consistentpoint.ToldWith(name); !slices.Contains(all, with) {
			t.Errorf("%s is told with %s, which is compared nowhere", name, with)
		}
	}
}
