// Package backup copies a control plane into one archive while it runs, and makes a state directory
// of such an archive. It works on the files of the machine that it runs on: the archive has the
// CA's key, which no RPC gives away.
package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const (
	// format is the archive's: a program reads its own and no newer one.
	format       = 1
	manifestName = "manifest.json"
	storeName    = "understudy.db"
	configName   = "understudy.yaml"
	caDir        = "ca"
	manualDir    = "manual"
)

// Manifest is the first file of an archive, and says what the others are.
type Manifest struct {
	// Format is the archive's format.
	Format int `json:"format"`
	// Program is the version of the program that made it, Created when the store was copied.
	Program string    `json:"program"`
	Created time.Time `json:"created"`
	// Schema is the version of the store's schema.
	Schema int64 `json:"schema"`
	// CAPin is the pin of the CA.
	CAPin string `json:"ca_pin"`
	// Elsewhere are the private keys of the CA that it does not have.
	Elsewhere []Elsewhere `json:"elsewhere,omitempty"`
	// Files are the other files, in the archive's order.
	Files []File `json:"files"`
}

// File is one file of an archive.
type File struct {
	// Name is its path below the state directory, with slashes.
	Name string `json:"name"`
	// Size is in bytes, SHA256 in hexadecimal.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Config says what is backed up.
type Config struct {
	// StateDir is the control plane's state directory.
	StateDir string
	// ConfigFile is its configuration; left out when it is not there.
	ConfigFile string
	// Program is the version of this program.
	Program string
	// Keys is where the configuration has keys of the CA, as Places says it.
	Keys string
	// Now is the clock; time.Now when nil.
	Now func() time.Time

	copied func() // for tests
}

// Create writes an archive of the control plane to a new file that its owner alone can read. The
// control plane may run meanwhile. The store comes first: what the other files have beyond it, the
// jobs find again by what they observe.
func Create(ctx context.Context, config Config, path string) (Manifest, error) {
	manifest, err := create(ctx, config, path)
	if err != nil {
		return Manifest{}, fmt.Errorf("cannot back up %s to %s: %w", config.StateDir, path, err)
	}
	return manifest, nil
}

func create(ctx context.Context, config Config, path string) (manifest Manifest, err error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, errors.Join(fs.ErrExist, err)
	}
	parent, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return Manifest{}, err
	}
	defer parent.Close()
	work, err := newWorkspace(parent, ".understudy-backup-")
	if err != nil {
		return Manifest{}, err
	}
	defer func() { err = errors.Join(err, work.remove()) }()
	staged := filepath.Join(filepath.Dir(path), work.name)
	manifest = Manifest{Format: format, Program: config.Program, Created: config.Now().UTC()}
	manifest.Schema, err = store.Copy(ctx, filepath.Join(config.StateDir, storeName),
		filepath.Join(staged, storeName))
	if err != nil {
		return Manifest{}, err
	}
	if err := stage(config, staged); err != nil {
		return Manifest{}, err
	}
	root, err := work.ReadFile(caDir + "/ca.pem")
	if err != nil {
		return Manifest{}, err
	}
	if manifest.CAPin, err = pinOf(root); err != nil {
		return Manifest{}, err
	}
	if manifest.Elsewhere, err = elsewhere(work.ReadFile); err != nil {
		return Manifest{}, err
	}
	for i := range manifest.Elsewhere {
		manifest.Elsewhere[i].Place = config.Keys
	}
	if manifest.Files, err = list(staged); err != nil {
		return Manifest{}, err
	}
	archive := filepath.Join(staged, ".archive")
	if err := write(archive, staged, manifest); err != nil {
		return Manifest{}, err
	}
	if err := os.Link(archive, path); err != nil { // which replaces no other file
		return Manifest{}, err
	}
	return manifest, atomicfile.SyncDir(filepath.Dir(path))
}

// stage copies what is beside the store.
func stage(config Config, staged string) error {
	if err := copyCA(config, staged); err != nil {
		return err
	}
	err := copyTree(filepath.Join(config.StateDir, manualDir), filepath.Join(staged, manualDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := os.ReadFile(config.ConfigFile)
	if config.ConfigFile == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(staged, configName), data, 0o600)
}

// copies is how often the CA's files are copied at most.
const copies = 5

// copyCA copies the CA's files until two copies in a row are the same: while the root is replaced
// several of them change one after the other, and belong together.
func copyCA(config Config, staged string) error {
	var before []File
	for range copies {
		err := errors.Join(os.RemoveAll(filepath.Join(staged, caDir)),
			copyTree(filepath.Join(config.StateDir, caDir), filepath.Join(staged, caDir)))
		if err != nil {
			return err
		}
		if config.copied != nil {
			config.copied()
		}
		now, err := list(filepath.Join(staged, caDir))
		if err != nil || slices.Equal(now, before) {
			return err
		}
		before = now
	}
	return fmt.Errorf("%s changes all the time: make the backup once the root is replaced",
		filepath.Join(config.StateDir, caDir))
}

// copyTree copies regular files. Each is replaced as a whole by its writers, so it is read as a
// whole; one that a writer is about to put in place, or has just removed, is left out.
func copyTree(from, to string) error {
	// Root may copy what another user can write: no name leads out.
	source, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer source.Close()
	return fs.WalkDir(source.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, path), 0o700)
		case !entry.Type().IsRegular() || entry.Name()[0] == '.':
			return nil
		}
		data, err := source.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), data, 0o600)
	})
}

// list has all staged files with their sums.
func list(staged string) (files []File, err error) {
	root, err := os.OpenRoot(staged)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		in, err := root.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		sum := sha256.New()
		size, err := io.Copy(sum, in)
		files = append(files, File{Name: path, Size: size,
			SHA256: hex.EncodeToString(sum.Sum(nil))})
		return err
	})
	return files, err
}

func write(archive, staged string, manifest Manifest) error {
	out, err := os.OpenFile(archive, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	writer := tar.NewWriter(out)
	err = writeAll(writer, staged, manifest)
	return errors.Join(err, writer.Close(), out.Sync(), out.Close())
}

func writeAll(writer *tar.Writer, staged string, manifest Manifest) error {
	first, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return err
	}
	header := func(name string, size int64) error {
		return writer.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600,
			ModTime: manifest.Created, Typeflag: tar.TypeReg})
	}
	if err := header(manifestName, int64(len(first))); err != nil {
		return err
	}
	if _, err := writer.Write(first); err != nil {
		return err
	}
	for _, file := range manifest.Files {
		in, err := os.Open(filepath.Join(staged, filepath.FromSlash(file.Name)))
		if err != nil {
			return err
		}
		if err = header(file.Name, file.Size); err == nil {
			_, err = io.Copy(writer, in)
		}
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	return nil
}

// pinOf is the pin of a CA: of the root that signs, which stands behind an intermediate of its.
func pinOf(data []byte) (string, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", err
		}
		if bytes.Equal(ca.RawSubject, ca.RawIssuer) {
			return identity.Pin(ca), nil
		}
	}
	return "", errors.New("ca.pem holds no root")
}
