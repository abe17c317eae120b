package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// writeSecret opens a file that its owner alone can read, makes the secret, and writes it: a secret
// that cannot be written is not made, and a file without one does not stay.
func writeSecret(c *cli, path string, secret func() ([]byte, error)) error {
	if path == "-" {
		data, err := secret()
		if err == nil {
			_, err = c.Stdout.Write(data)
		}
		return err
	}
	file, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usageError{message: path + " exists already",
			hint: "remove it, or name another file"}
	}
	if err != nil {
		return usageError{message: fmt.Sprintf("cannot write %s: %v", path, err)}
	}
	data, err := secret()
	if err == nil {
		_, err = file.Write(data)
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
