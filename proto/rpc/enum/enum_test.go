package enum_test

import (
	"slices"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func TestWordsAndValuesMatchByName(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]cpv1.Task_Kind{
		"make-machine": cpv1.Task_KIND_MAKE_MACHINE, "MAKE_MACHINE": cpv1.Task_KIND_MAKE_MACHINE,
		"unspecified": 0, "": 0, "KIND_MAKE_MACHINE": 0, "no such": 0,
	} {
		if got := enum.Of[cpv1.Task_Kind](text); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
	for _, word := range enum.Words[cpv1.Task_Kind]() {
		if got := enum.Word(enum.Of[cpv1.Task_Kind](word)); got != word {
			t.Errorf("%q became %q", word, got)
		}
	}
	if got := enum.Words[cpv1.VerifyLevel](); !slices.Equal(got, []string{"position", "sample",
		"full"}) {
		t.Errorf("levels %v", got)
	}
	if got := enum.Word(cpv1.VerifyLevel(99)) + enum.Word(cpv1.VerifyLevel(0)); got != "" {
		t.Errorf("an unknown value has the word %q", got)
	}
}
