package mariadb

import (
	"os"
	"strings"
	"testing"
)

func TestThePageHasWhatMayBeElsewhere(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/datadir.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range MayBeElsewhere() {
		row := "| `" + strings.Join(e.Variables, "`, `") + "` | " + e.Reason + " |\n"
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/datadir.md lacks the row\n%s", row)
		}
	}
}
