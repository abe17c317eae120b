package backup

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Elsewhere is a private key of the CA that is outside of the state directory, and so in no backup.
type Elsewhere struct {
	// File is what of a backup has its public part.
	File string `json:"file"`
	// Key is the SHA-256 of its public part, as a signer is told it.
	Key string `json:"key"`
	// Place is where the configuration of the backup has it, in words.
	Place string `json:"place,omitempty"`
}

// KeysElsewhere are the keys of a state directory's CA that are outside of it.
func KeysElsewhere(stateDir string) ([]Elsewhere, error) {
	root, err := os.OpenRoot(stateDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return elsewhere(root.ReadFile)
}

// elsewhere are the keys of roots and intermediates that sign, or are to, whose files have the
// public part alone.
func elsewhere(read func(name string) ([]byte, error)) (found []Elsewhere, err error) {
	certs, err := read(caDir + "/ca.pem")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{caDir + "/key.pem", caDir + "/next-key.pem"} {
		data, err := read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(data)
		if block == nil || block.Type != "PUBLIC KEY" || !signsIn(certs, block.Bytes) {
			continue
		}
		sum := sha256.Sum256(block.Bytes)
		found = append(found, Elsewhere{File: name, Key: hex.EncodeToString(sum[:])})
	}
	return found, nil
}

// signsIn says whether one of the certificates is for the key. What an interrupted step has left is
// nobody's.
func signsIn(certs, key []byte) bool {
	for block, rest := pem.Decode(certs); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil && bytes.Equal(cert.RawSubjectPublicKeyInfo, key) {
			return true
		}
	}
	return false
}

// placed says of each key what the manifest says of it.
func placed(found, told []Elsewhere) []Elsewhere {
	for i := range found {
		at := slices.IndexFunc(told, func(e Elsewhere) bool { return e.Key == found[i].Key })
		if at >= 0 {
			found[i].Place = told[at].Place
		}
	}
	return found
}

// Missing says in words what of the state directory a backup does not have; empty for nothing.
func (m Manifest) Missing() string {
	var text strings.Builder
	for _, e := range m.Elsewhere {
		fmt.Fprintf(&text, "not in it: the private key to %s, which is in %s (its public part "+
			"has the SHA-256 %s)\n", e.File, e.where(), e.Key)
	}
	if text.Len() > 0 {
		text.WriteString("keep that key too: without it nothing that is restored signs\n")
	}
	return text.String()
}

// Needed says in words what has to be on a machine before the first start after a restore; empty
// for nothing. Here is where the configuration of the machine has keys, in words; empty for none.
func Needed(keys []Elsewhere, here string) string {
	var text strings.Builder
	for _, e := range keys {
		fmt.Fprintf(&text, "has to be here before the first start: the private key to %s, which "+
			"was in %s (its public part has the SHA-256 %s)\n", e.File, e.where(), e.Key)
	}
	switch {
	case text.Len() == 0:
	case here == "":
		text.WriteString("the configuration of this machine names no signer and no file with a " +
			"key: set ca_signer, or ca_key_files\n")
	default:
		text.WriteString("the configuration of this machine has keys in " + here + "\n")
	}
	return text.String()
}

func (e Elsewhere) where() string {
	if e.Place == "" {
		return "a signer or a file elsewhere"
	}
	return e.Place
}

// Places are where a configuration has keys of the CA, in words; empty for nowhere.
func Places(signer, files []string) string {
	var all []string
	if len(signer) > 0 {
		all = append(all, "the signer "+filepath.Clean(signer[0]))
	}
	if len(files) > 0 {
		all = append(all, "one of the files "+strings.Join(files, ", "))
	}
	return strings.Join(all, " or ")
}
