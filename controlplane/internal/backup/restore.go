package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	maxManifest  = 16 << 20
	stagedPrefix = ".understudy-restore-"
)

// RestoreConfig says where to.
type RestoreConfig struct {
	// StateDir is the state directory to make: it is empty or not there.
	StateDir string
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Logger hears of the store; the default logger when nil.
	Logger *slog.Logger
}

// Restore makes a state directory of an archive. All of the archive is verified before anything is
// written, and the files are put in place at the end. The records are changed in what must not go
// back: the epochs of jobs become higher than any that an agent may have seen, and join tokens end.
func Restore(ctx context.Context, config RestoreConfig, path string) (Manifest, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	manifest, err := restore(ctx, config, path)
	if err != nil {
		return Manifest{}, fmt.Errorf("cannot restore %s to %s: %w", path, config.StateDir, err)
	}
	return manifest, nil
}

func restore(ctx context.Context, config RestoreConfig, path string) (m Manifest, err error) {
	if err := mustBeEmpty(config.StateDir); err != nil {
		return Manifest{}, err
	}
	if m, err = Verify(path); err != nil {
		return Manifest{}, err
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(config.StateDir)), 0o755); err != nil {
		return Manifest{}, err
	}
	if err := os.Mkdir(config.StateDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return Manifest{}, err
	}
	state, err := os.OpenRoot(config.StateDir)
	if err != nil {
		return Manifest{}, err
	}
	defer state.Close()
	staged, err := newWorkspace(state, stagedPrefix)
	if err != nil {
		return Manifest{}, err
	}
	defer func() { err = errors.Join(err, staged.remove()) }()
	if err := stageArchive(ctx, config, path, m, staged.Root); err != nil {
		return Manifest{}, err
	}
	// What the archive has says which keys it lacks, also one whose manifest says nothing of them.
	found, err := elsewhere(staged.ReadFile)
	if err != nil {
		return Manifest{}, err
	}
	m.Elsewhere = placed(found, m.Elsewhere)
	return m, place(staged, state)
}

// stageArchive writes the files as they are to be. The state directory's user may change names in
// it meanwhile, and SQLite takes a file by its name: the store is made fit where nobody else may.
func stageArchive(ctx context.Context, config RestoreConfig, path string, m Manifest,
	staged *os.Root) (err error) {
	private, err := os.MkdirTemp("", "understudy-restore-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(private)) }()
	records := filepath.Join(private, storeName)
	if _, err := read(path, func(file File) (io.WriteCloser, error) {
		if file.Name == storeName {
			return os.OpenFile(records, newFile, 0o600)
		}
		return into(staged, file.Name)
	}); err != nil {
		return err
	}
	data, err := staged.ReadFile(caDir + "/ca.pem")
	if err != nil {
		return err
	}
	if pin, err := pinOf(data); err != nil || pin != m.CAPin {
		return errors.Join(err,
			fmt.Errorf("its CA has the pin %q, its manifest says %s", pin, m.CAPin))
	}
	if err := successorSigned(staged); err != nil {
		return err
	}
	at := store.Config{Path: records, Logger: config.Logger, Now: config.Now}
	if err := Settle(ctx, at, m.Created); err != nil {
		return err
	}
	return copyInto(staged, storeName, records)
}

// successorSigned notes that the successor of the CA's root may have signed since the backup: going
// back then waits for what it signed.
func successorSigned(staged *os.Root) error {
	const next, signed = caDir + "/next-key.pem", caDir + "/next-signed"
	if _, err := staged.Stat(next); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	note, err := into(staged, signed)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return note.Close()
}

const newFile = os.O_CREATE | os.O_EXCL | os.O_WRONLY

// into makes a file below a directory.
func into(dir *os.Root, name string) (io.WriteCloser, error) {
	if err := dir.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	return dir.OpenFile(name, newFile, 0o600)
}

func copyInto(dir *os.Root, name, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := into(dir, name)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// place moves the files to where they belong, which may be a filesystem's own root. The store goes
// first: a control plane refuses one whose certificate authority is not there.
func place(staged *workspace, state *os.Root) error {
	dir, err := state.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	// Syncfs puts on disk what was written to the filesystem.
	if err := errors.Join(giveToOwner(staged.Root, dir),
		unix.Syncfs(int(staged.held.Fd()))); err != nil {
		return err
	}
	for _, name := range []string{storeName, caDir, manualDir, configName} {
		err := unix.Renameat(int(staged.held.Fd()), name, int(dir.Fd()), name)
		if errors.Is(err, fs.ErrNotExist) && (name == manualDir || name == configName) {
			continue
		}
		if err != nil {
			return fmt.Errorf("put %s in place: %w", name, err)
		}
	}
	return dir.Sync()
}

// giveToOwner gives all that is staged to the owner of dir: root restores for a service of another
// user. systemd gives the user what is in its state directory only when the directory is not the
// user's yet.
func giveToOwner(staged *os.Root, dir *os.File) error {
	info, err := dir.Stat()
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return fs.WalkDir(staged.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return staged.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}

// Settle makes records fit to go on that are a copy of that time.
func Settle(ctx context.Context, at store.Config, copied time.Time) (err error) {
	records, err := store.Open(ctx, at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	return records.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.Restored(ctx, copied)
	})
}

// mustBeEmpty allows what a new filesystem has, and what a restore left that was killed.
func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.IsDir() && (e.Name() == "lost+found" || strings.HasPrefix(e.Name(), stagedPrefix))
	})
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_ALREADY_EXISTS,
		fmt.Sprintf("%s is not empty (%s)", dir, entries[0].Name()),
		errs.WithHint("stop the control plane (systemctl stop understudy) and move what is in "+
			dir+" to another directory, or name another one"))
}

// Verify reads all of an archive and refuses one that is damaged, or that a newer program made.
func Verify(path string) (Manifest, error) {
	return read(path, func(File) (io.WriteCloser, error) { return discard{io.Discard}, nil })
}

type discard struct{ io.Writer }

// Close does nothing.
func (discard) Close() error { return nil }

// read goes through an archive once, and holds every file to the manifest.
func read(path string, sink func(File) (io.WriteCloser, error)) (Manifest, error) {
	in, err := os.Open(path)
	if err != nil {
		return Manifest{}, err
	}
	defer in.Close()
	archive := tar.NewReader(in)
	m, err := readManifest(archive)
	if err != nil {
		return Manifest{}, err
	}
	for _, file := range m.Files {
		if err := readFile(archive, file, sink); errors.As(err, new(*fs.PathError)) {
			return Manifest{}, err // of the place that it is written to
		} else if err != nil {
			return Manifest{}, damaged(fmt.Errorf("%s: %w", file.Name, err))
		}
	}
	if header, err := archive.Next(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = fmt.Errorf("%s is not in its manifest", header.Name)
		}
		return Manifest{}, damaged(err)
	}
	return m, nil
}

func readManifest(archive *tar.Reader) (m Manifest, err error) {
	header, err := archive.Next()
	if err != nil || header.Name != manifestName || header.Size > maxManifest {
		return Manifest{}, damaged(errors.Join(errors.New("it does not begin with a manifest"),
			err))
	}
	if err := json.NewDecoder(archive).Decode(&m); err != nil {
		return Manifest{}, damaged(err)
	}
	known, err := store.Schema()
	switch {
	case err != nil:
		return Manifest{}, err
	case m.Format > format || m.Schema > known:
		return Manifest{}, errs.New(errs.FailedPrecondition,
			errorsv1.Reason_REASON_STORE_MISMATCH,
			fmt.Sprintf("version %s made it, with format %d and schema %d; this program knows "+
				"them up to %d and %d", m.Program, m.Format, m.Schema, format, known),
			errs.WithHint("restore it with version "+m.Program+" of the program, or a newer one"))
	case m.Format < 1:
		return Manifest{}, damaged(fmt.Errorf("format %d", m.Format))
	}
	return m, nil
}

func readFile(archive *tar.Reader, file File, sink func(File) (io.WriteCloser, error)) error {
	header, err := archive.Next()
	switch {
	case err != nil:
		return err
	case header.Name != file.Name || header.Typeflag != tar.TypeReg || header.Size != file.Size:
		return fmt.Errorf("the archive has %s of %d bytes in its place", header.Name, header.Size)
	case !expected(file.Name):
		return errors.New("no backup has such a file")
	}
	out, err := sink(file)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), archive)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != file.SHA256 {
		return fmt.Errorf("its checksum is %s, the manifest says %s", got, file.SHA256)
	}
	return nil
}

// expected keeps files where they belong.
func expected(name string) bool {
	local := filepath.IsLocal(name) && filepath.ToSlash(filepath.Clean(name)) == name
	return local && (name == storeName || name == configName ||
		strings.HasPrefix(name, caDir+"/") || strings.HasPrefix(name, manualDir+"/"))
}

func damaged(cause error) error {
	return errs.New(errs.DataLoss, errorsv1.Reason_REASON_INTERNAL, "the archive is damaged",
		errs.Wrap(cause), errs.WithHint("use another backup"))
}
