package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	got := map[string]int{"before": 1}
	if found, err := atomicfile.ReadJSON(path, &got); found || err != nil || got["before"] != 1 {
		t.Errorf("no file: %v %v %v", found, err, got)
	}
	if err := atomicfile.WriteJSON(path, map[string]int{"a": 2}); err != nil {
		t.Fatal(err)
	}
	if found, err := atomicfile.ReadJSON(path, &got); !found || err != nil || got["a"] != 2 {
		t.Errorf("%v %v %v", found, err, got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := atomicfile.ReadJSON(path, &got); found || err == nil {
		t.Errorf("half a file: %v %v", found, err)
	}
	if atomicfile.WriteJSON(path, func() {}) == nil {
		t.Error("a function was written")
	}
}
