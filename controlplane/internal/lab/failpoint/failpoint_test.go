package failpoint_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/lab/failpoint"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, count := range map[string]int{
		"": 0, "after_effect:cut": 1, "after_effect:cut,stop@before_effect:*": 2,
		"before_call:ReserveBinlogs": 1,
	} {
		if set, err := failpoint.Parse(text); err != nil || len(set) != count {
			t.Errorf("%q: %v, %v", text, set, err)
		}
	}
	for text, said := range map[string]string{
		"cut": `"cut"`, "after_effect:": "after_effect", "never:cut": "never",
		"after_effect:cut,halt@after_effect:cut": "halt@", "after_effect:cut,": `""`,
	} {
		if _, err := failpoint.Parse(text); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("%q: %v, want %q in it", text, err, said)
		}
	}
}
