package agentv1_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOperatorsCallsAreDocumented finds a call that its comment leaves to operators and no page
// shows.
func TestOperatorsCallsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../../docs/grpcurl.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.proto")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`(?s)((?:  // [^\n]*\n)+)  rpc (\w+)`)
	seen := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range call.FindAllStringSubmatch(string(text), -1) {
			comment := strings.Join(strings.Fields(strings.ReplaceAll(found[1], "//", "")), " ")
			if !strings.Contains(comment, "for an operator with grpcurl") {
				continue
			}
			seen++
			if !strings.Contains(string(page), "/"+found[2]) {
				t.Errorf("docs/grpcurl.md does not show %s", found[2])
			}
		}
	}
	if seen == 0 {
		t.Error("no call is left to operators")
	}
}
