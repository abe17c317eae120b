package house_test

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// shared are the folders that every family of jobs may import.
var shared = []string{"kit", "host"}

// siblings are the families that a file of another one imports.
func siblings(file string, parsed *ast.File) []string {
	own, _, inFolder := strings.Cut(strings.TrimPrefix(file, workflows), "/")
	// workflow.go wires the families together, and the simulated world asks for jobs of all kinds.
	if !inFolder || own == "workflowtest" {
		return nil
	}
	var found []string
	for _, spec := range parsed.Imports {
		imported, _ := literal(spec.Path)
		family, ok := strings.CutPrefix(imported, module+workflows)
		if ok && family != own && !slices.Contains(shared, family) {
			found = append(found, family)
		}
	}
	return found
}

// What two families of jobs need is in kit or host, or is passed in by workflow.go.
func TestFamiliesOfJobsImportNoSibling(t *testing.T) {
	t.Parallel()
	folders := map[string]bool{}
	for file, parsed := range controlPlaneSources(t) {
		if !strings.HasPrefix(file, workflows) {
			continue
		}
		folders[path.Dir(file)] = true
		for _, family := range siblings(file, parsed) {
			t.Errorf("%s imports its sibling %s: take it as a parameter, as replicate.Parts does",
				file, family)
		}
	}
	if !folders[workflows+"verify"] || !folders[workflows+"kit"] {
		t.Errorf("verify and kit were not found among %v", folders)
	}
}

func TestSiblingsAreFound(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]int{
		"planted/kind.go": 2, "verify/kind.go": 1, "workflowtest/asks.go": 0, "workflow.go": 0,
	} {
		parsed := parse(t, file, []byte("package p\nimport (\n\""+module+workflows+"kit\"\n\""+
			module+workflows+"verify\"\n\""+module+workflows+"purge\"\n)"))
		if found := siblings(workflows+file, parsed); len(found) != want {
			t.Errorf("%s: found %v, want %d", file, found, want)
		}
	}
}
