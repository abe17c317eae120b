//go:build lab

package faults

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// results remembers the rows that ended as expected, so that a run which was interrupted, or in
// which rows failed, goes on where it was. They are of one build: other programs or other tests
// begin anew.
type results struct {
	mu    sync.Mutex
	path  string
	Build string            `json:"build"`
	Rows  map[string]result `json:"rows"`
}

// openResults gives the rows their results of an interrupted run, when FAULTS_RESULTS names the
// file that has them.
func openResults(t *testing.T, rows []row) *results {
	t.Helper()
	r := &results{path: os.Getenv("FAULTS_RESULTS"), Build: build(t), Rows: map[string]result{}}
	named := map[string]bool{}
	for i := range rows {
		if named[rows[i].name()] {
			t.Fatalf("two rows are named %s", rows[i].name()) // one would have the other's result
		}
		named[rows[i].name()] = true
	}
	if r.path == "" {
		return r
	}
	var past results
	if data, err := os.ReadFile(r.path); err == nil && json.Unmarshal(data, &past) == nil &&
		past.Build == r.Build {
		r.Rows = past.Rows
	}
	for i := range rows {
		if known, ok := r.Rows[rows[i].name()]; ok {
			rows[i].result = known
		}
	}
	if len(r.Rows) > 0 {
		t.Logf("%d rows were run before, by these programs, and are not run again: remove %s to "+
			"begin anew", len(r.Rows), r.path)
	}
	return r
}

// add remembers a row that ended as expected.
func (r *results) add(t *testing.T, done *row) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path == "" || done.Outcome != asExpected {
		return
	}
	r.Rows[done.name()] = done.result
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(r.path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// done forgets a run in which all rows ended as expected: the next one begins anew.
func (r *results) done(t *testing.T, rows []row) {
	t.Helper()
	for _, row := range rows {
		if row.Outcome != asExpected {
			return
		}
	}
	if r.path != "" {
		if err := os.Remove(r.path); err != nil {
			t.Error(err)
		}
	}
}

// build identifies the programs under test and the tests themselves.
func build(t *testing.T) string {
	t.Helper()
	tests, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	for _, path := range []string{filepath.Join(binDir(t), "understudy"),
		filepath.Join(binDir(t), "understudy-agent"), filepath.Join(binDir(t), "understudy-lab"),
		tests} {
		file, err := os.Open(path)
		if err != nil {
			t.Fatalf("the programs are not built: run `make build` (%v)", err)
		}
		if _, err := io.Copy(sum, file); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
