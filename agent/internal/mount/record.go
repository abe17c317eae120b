package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// record is where the agent keeps what it is changing on a device, for the next agent to find; the
// device's first name stands for the volume.
func (f *filesystems) record(kind string, device Device) string {
	id := "unnamed"
	if len(device.IDs) > 0 {
		id = device.IDs[0]
	}
	return filepath.Join(f.stateDir, kind, id+".json")
}

func writeRecord(path string, content any) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.WriteJSON(path, content)
}

func forgetRecord(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the record of a change that is over: %w", err)
	}
	return nil
}
