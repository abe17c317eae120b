package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every page for users is in the README's list.
func TestTheReadmeListsEveryPage(t *testing.T) {
	t.Parallel()
	readme := string(read(t, "README.md"))
	for _, file := range files(t) {
		if page, _ := filepath.Match("docs/*.md", file); page &&
			!strings.Contains(readme, "]("+file+")") {
			t.Errorf("README.md does not list %s", file)
		}
	}
}

// command is a test that a page says to run.
var command = regexp.MustCompile(
	"`go test \\./([a-z/-]+)(?: -run (\\w+))?( -update)?(?: -record [a-z/]+)?`")

// The tests that the pages for builders say to run are there, with the flag that they say.
func TestCommandsOfThePagesAreThere(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, page := range []string{"ARCHITECTURE.md", "CONTRIBUTING.md"} {
		for _, found := range command.FindAllStringSubmatch(string(read(t, page)), -1) {
			seen++
			tests := testsOf(t, found[1])
			if !strings.Contains(tests, "\nfunc Test"+strings.TrimPrefix(found[2], "Test")) {
				t.Errorf("%s: no test of %s", page, found[0])
			}
			if found[3] != "" && !strings.Contains(tests, `("update"`) {
				t.Errorf("%s: no -update for %s", page, found[0])
			}
		}
	}
	if seen < 5 {
		t.Errorf("%d commands were found", seen)
	}
}

// testsOf is the code of a folder's tests.
func testsOf(t *testing.T, folder string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(code)
	}
	return all.String()
}
