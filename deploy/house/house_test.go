// Package house_test holds ARCHITECTURE.md, the shape of the tree, the width of lines and the
// length of files to each other.
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
	maxLines = 400
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
	all := slices.DeleteFunc(strings.Split(string(out), "\x00"), func(file string) bool {
		_, err := os.Stat(filepath.Join(root, file))
		return file == "" || err != nil // deleted, not yet committed
	})
	watch(t, all)
	return all
}

// watch opens the folders of the files: `go test` repeats a cached result until something changes
// that the test itself opened, and a new file changes its folder alone.
func watch(t *testing.T, files []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, file := range files {
		for dir := path.Dir(file); !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			if _, err := os.ReadDir(filepath.Join(root, dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
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
var wide = []string{"proto/understudy/errors/", "proto/understudy/limits/"}

// No line of Go or proto is wider than 100 columns.
func TestLinesFit(t *testing.T) {
	t.Parallel()
	for _, file := range files(t) {
		source := path.Ext(file) == ".go" || path.Ext(file) == ".proto"
		if !source || strings.HasSuffix(file, ".pb.go") || strings.HasSuffix(file, "_gen.go") {
			continue
		}
		in := func(dir string) bool { return strings.HasPrefix(file, dir) }
		if slices.ContainsFunc(wide, in) {
			continue
		}
		for i, line := range bytes.Split(read(t, file), []byte("\n")) {
			if width := widthOf(line); width > maxWidth && !directive.Match(line) {
				t.Errorf("%s:%d: %d columns, want at most %d", file, i+1, width, maxWidth)
			}
		}
	}
}

// A file of Go has one topic: no longer than a reader takes in at once.
func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	for _, file := range files(t) {
		if path.Ext(file) != ".go" || strings.HasSuffix(file, ".pb.go") ||
			strings.HasSuffix(file, "_gen.go") {
			continue
		}
		if lines := bytes.Count(read(t, file), []byte("\n")); lines > maxLines {
			t.Errorf("%s: %d lines, want at most %d: split it by topic", file, lines, maxLines)
		}
	}
}

// directive is a comment that a tool reads, on one line.
var directive = regexp.MustCompile(`^//go:`)

// widthOf counts columns, a tab as four.
func widthOf(line []byte) int {
	return utf8.RuneCount(line) + (tabWidth-1)*bytes.Count(line, []byte("\t"))
}

// stepName and kindName find the names of steps and kinds where families of jobs define them.
var (
	stepName = regexp.MustCompile(`(?:Name: |\bstep[A-Z]\w* += )"([a-z]+_[a-z_]+)"`)
	kindName = regexp.MustCompile(`\bKind[A-Z]\w+ += "([a-z_]+)"`)
	// a hint may advise a step
	advised  = regexp.MustCompile(`(?:"step",\s+|RedoThis\(|RetryStep\(\S+ )"[a-z_]+"`)
	kindCase = regexp.MustCompile(`switch [\w.]*\b(?:j|job|ask|req|plan|made)\.Kind\b`)
)

const families = "controlplane/internal/workflow/"

// fields of requests that are called as steps are
var fields = []string{"reserve_binlogs"}

// Only a kind's own package knows its name and those of its steps: no other one decides by them.
func TestNobodyElseKnowsAKind(t *testing.T) {
	t.Parallel()
	homes := map[string][]string{} // by name: the folders that define it
	var code []string
	for _, file := range files(t) {
		if path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") ||
			strings.HasSuffix(file, ".pb.go") || !strings.HasPrefix(file, "controlplane/") {
			continue
		}
		code = append(code, file)
		if !strings.HasPrefix(file, families) {
			continue
		}
		for _, pattern := range []*regexp.Regexp{stepName, kindName} {
			for _, found := range pattern.FindAllSubmatch(read(t, file), -1) {
				if slices.Contains(fields, string(found[1])) {
					continue
				}
				homes[string(found[1])] = append(homes[string(found[1])], path.Dir(file))
			}
		}
	}
	if len(homes) < 20 {
		t.Fatalf("only %d names of steps and kinds were found", len(homes))
	}
	for _, file := range code {
		text := advised.ReplaceAll(read(t, file), nil)
		if switched := kindCase.Find(text); switched != nil {
			t.Errorf("%s: %s: ask the kind instead", file, switched)
		}
		for name, dirs := range homes {
			at := slices.Contains(dirs, path.Dir(file))
			if !at && bytes.Contains(text, []byte(`"`+name+`"`)) {
				t.Errorf("%s names %q, which is for %v to know", file, name, dirs)
			}
		}
	}
}
