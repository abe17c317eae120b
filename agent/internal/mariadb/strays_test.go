package mariadb

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestOpenFilesOfTheKernelHoldNoData(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	for _, path := range []string{"/proc/self/oom_score_adj", data} {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
	}
	s := survey{process: serverProcess{proc: "/proc/self"}}
	if err := s.openFiles(); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(s.found, Stray{data, "open file"}) {
		t.Errorf("%s is not among %v", data, s.found)
	}
	for _, f := range s.found {
		if filepath.Base(f.Path) == "oom_score_adj" {
			t.Errorf("found %v", f)
		}
	}
}
