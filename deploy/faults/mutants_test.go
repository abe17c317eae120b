//go:build lab && mutants

package faults

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutants takes out, one after the other, the code that carries a row, and expects that the row
// fails.
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			m.run(t, m.build(t))
		})
	}
}

// build builds the programs with the mutant's file in place of the tree's own, and returns their
// folder.
func (m mutant) build(t *testing.T) string {
	t.Helper()
	source, code, err := m.mutated()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mutated, overlay := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json")
	files, err := json.Marshal(map[string]map[string]string{"Replace": {source: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{mutated: code, overlay: string(files)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(dir, "bin") + "/"
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", "grpcnotrace",
		"-overlay", overlay, "-o", bin, "./controlplane/cmd/understudy",
		"./controlplane/cmd/understudy-lab", "./agent/cmd/understudy-agent")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// run runs the mutant's row with the mutated programs, in a process of its own.
func (m mutant) run(t *testing.T, bin string) {
	t.Helper()
	row := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run",
		"^TestFaults$/^"+strings.ReplaceAll(m.row, "/", "$/^")+"$")
	row.Env = append(os.Environ(), "FAULTS_ALL=1", "FAULTS_LAB=mutant", "FAULTS_BIN="+bin)
	out, err := row.CombinedOutput()
	switch text := string(out); {
	case err == nil:
		t.Errorf("%s passes without the code that carries it", m.row)
	case !strings.Contains(text, "--- FAIL: TestFaults/"+m.row) || !strings.Contains(text, m.says):
		t.Errorf("%s fails, but not by saying %q: %v\n%s", m.row, m.says, err, text)
	}
}
