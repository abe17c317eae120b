package untrusted

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Ours is the directory of our own below the root of a data volume's filesystem.
const Ours = ".understudy"

// NoncePath is the file of the nonce that Quiesce leaves, below the root of the filesystem.
const NoncePath = Ours + "/nonce"

// MostNonce bounds the file of a nonce, in bytes.
const MostNonce = 65

// Nonce is the nonce of the filesystem that is mounted there; empty when there is none.
func Nonce(mount string) (string, error) {
	text, err := ReadBelow(mount, NoncePath, MostNonce)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the nonce: %w", err)
	}
	nonce := strings.TrimSpace(string(text))
	if strings.Trim(nonce, "0123456789abcdef") != "" {
		return "", nil // nobody's: what it says is not repeated
	}
	return nonce, nil
}
