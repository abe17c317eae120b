// Package house_test holds ARCHITECTURE.md, the shape of the tree and the width of lines to each
// other.
package house_test

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	root     = "../.."
	maxWidth = 100
	tabWidth = 4
)

// files are the paths of all files that git knows or would know, from the root.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skip("this is not a clone: ", err)
	}
	return slices.DeleteFunc(strings.Split(string(out), "\x00"), func(file string) bool {
		_, err := os.Stat(filepath.Join(root, file))
		return file == "" || err != nil // deleted, not yet committed
	})
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// row is a row of ARCHITECTURE.md whose first cell is a folder.
var row = regexp.MustCompile("(?m)^\\| `([a-z]+/[^` ]*)` \\|")

// Every folder with Go code has one row in ARCHITECTURE.md, and every row is such a folder.
func TestEveryFolderHasItsRow(t *testing.T) {
	t.Parallel()
	folders := map[string]bool{}
	for _, file := range files(t) {
		if path.Ext(file) == ".go" {
			folders[path.Dir(file)] = true
		}
	}
	rows := map[string]int{}
	for _, found := range row.FindAllSubmatch(read(t, "ARCHITECTURE.md"), -1) {
		rows[string(found[1])]++
	}
	for folder := range folders {
		if rows[folder] != 1 {
			t.Errorf("%s has Go code and %d rows in ARCHITECTURE.md, want 1", folder, rows[folder])
		}
	}
	for folder := range rows {
		if !folders[folder] {
			t.Errorf("ARCHITECTURE.md has a row for %s, which has no Go code", folder)
		}
	}
}

// wide are the folders whose lines are not wrapped yet.
var wide = []string{"proto/", "controlplane/cmd/", "agent/", "deploy/", "controlplane/internal/agentpool/",
	"controlplane/internal/workflow/", "controlplane/internal/service/", "controlplane/internal/app/",
	"controlplane/internal/ca/", "controlplane/internal/lab/", "controlplane/internal/store/",
	"controlplane/internal/provider/", "controlplane/internal/fleet/"}

// No line of Go or proto is wider than 100 columns.
func TestLinesFit(t *testing.T) {
	t.Parallel()
	for _, file := range files(t) {
		source := path.Ext(file) == ".go" || path.Ext(file) == ".proto"
		if !source || strings.HasSuffix(file, ".pb.go") || strings.HasSuffix(file, "_gen.go") {
			continue
		}
		if slices.ContainsFunc(wide, func(dir string) bool { return strings.HasPrefix(file, dir) }) {
			continue
		}
		for i, line := range bytes.Split(read(t, file), []byte("\n")) {
			if width := widthOf(line); width > maxWidth {
				t.Errorf("%s:%d: %d columns, want at most %d", file, i+1, width, maxWidth)
			}
		}
	}
}

// widthOf counts columns, a tab as four.
func widthOf(line []byte) int {
	return utf8.RuneCount(line) + (tabWidth-1)*bytes.Count(line, []byte("\t"))
}
