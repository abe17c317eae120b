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

// TestFilesThatAReplicaWouldNotLookFor are on the volume, by an option of an engine.
func TestFilesThatAReplicaWouldNotLookFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		v    row
		want []Stray
	}{
		"no such engine": {row{"datadir": "/data"}, nil},
		"as it comes":    {row{"rocksdb_datadir": "./#rocksdb", "rocksdb_wal_dir": ""}, nil},
		"its log in a directory of its own": {row{"rocksdb_datadir": "./#rocksdb",
			"rocksdb_wal_dir": "./wal"}, []Stray{{"/data/wal",
			"variable rocksdb_wal_dir, which a replica does not have"}}},
		"its rows beside the datadir": {row{"rocksdb_datadir": "/srv/rocks"}, []Stray{{"/srv/rocks",
			"variable rocksdb_datadir, which a replica does not have"}}},
	} {
		s := survey{datadir: "/data"}
		if s.moved(c.v); !slices.Equal(s.found, c.want) {
			t.Errorf("%s: %v", name, s.found)
		}
	}
}
