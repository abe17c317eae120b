package mariadb

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatAProcessMapsAndWritesIsSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a mapped file")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	read, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	memory, err := unix.Mmap(int(file.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(memory) }()
	self := serverProcess{proc: "/proc/self"}
	if self.writes(int(read.Fd())) || !self.writes(int(file.Fd())) {
		t.Error("a descriptor to read is taken for one to write, or the other way round")
	}
	file.Close()
	id, err := identify(path)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	if err := self.eachMap(func(path string, is fileID) {
		if is == id {
			found = append(found, path)
		}
	}); err != nil || !slices.Equal(found, []string{path}) {
		t.Errorf("%q %v", found, err)
	}
}
