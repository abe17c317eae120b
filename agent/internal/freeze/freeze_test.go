package freeze_test

import (
	"errors"
	"os"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/freeze"
)

func TestTheRootFilesystemIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := freeze.Open("/"); !errors.Is(err, freeze.ErrRoot) {
		t.Fatalf("Open(/) = %v, want ErrRoot", err)
	}
}

func TestAPathThatIsNotThere(t *testing.T) {
	t.Parallel()
	if _, err := freeze.Thaw("/does/not/exist"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("Thaw = %v, want ErrNotExist", err)
	}
}

func TestAFilesystemThatCannotBeFrozen(t *testing.T) {
	t.Parallel()
	f, err := freeze.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if os.Geteuid() != 0 {
		t.Log("the kernel refuses other users than root before it looks")
		return
	}
	if err := f.Freeze(); !errors.Is(err, freeze.ErrUnsupported) {
		t.Errorf("Freeze = %v, want ErrUnsupported", err)
	}
	if frozen, err := f.Frozen(); frozen || err != nil {
		t.Errorf("Frozen = %v, %v, want false", frozen, err)
	}
}
