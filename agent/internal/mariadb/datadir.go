package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// DatadirPlan says what datadir is expected.
type DatadirPlan struct {
	// Datadir is on the allow-list; empty is the host's own.
	Datadir string
	// Initialize makes a new one in an empty directory.
	Initialize bool
	// Nonce must be on its filesystem; empty skips the check.
	Nonce string
	// Copy cleans it of another server's replication state.
	Copy bool
	// Contract is what this host must have to read it; nil asks for nothing.
	Contract *consistentpoint.Contract
}

// DatadirDone says what was done.
type DatadirDone struct {
	Changes         []string
	Datadir, Binary Version
	UpgradeNeeded   bool
}

// Datadirs makes, cleans and upgrades datadirs.
type Datadirs struct {
	server       *Server
	exec         Exec
	options      *options
	root         string
	socket, user string
	relayDir     string
	// allowed are those that may be touched, fallback is the host's own.
	allowed  []string
	fallback string
	// made is called when it made a datadir, or one of a copy: its binary log has no history yet.
	made func()
}

// Prepare makes a datadir fit for its first start here.
func (d *Datadirs) Prepare(ctx context.Context, plan DatadirPlan) (DatadirDone, error) {
	d.server.changes.Lock()
	defer d.server.changes.Unlock()
	dir, err := d.choose(plan.Datadir)
	if err != nil {
		return DatadirDone{}, err
	}
	volume, err := d.expectedVolume(ctx, dir, plan.Nonce)
	if err != nil {
		return DatadirDone{}, err
	}
	var done DatadirDone
	if done.Binary, err = binaryVersion(ctx, d.exec); err != nil {
		return DatadirDone{}, err
	}
	if plan.Initialize {
		if done.Changes, err = d.initialize(ctx, dir); err != nil {
			return DatadirDone{}, err
		}
	}
	if err := guardVersion(dir, &done); err != nil {
		return DatadirDone{}, err
	}
	if err := d.fit(ctx, dir, plan.Contract); err != nil {
		return DatadirDone{}, err
	}
	if plan.Copy {
		changes, err := cleanCopy(dir, volume)
		if err != nil {
			return DatadirDone{}, err
		}
		done.Changes = append(done.Changes, changes...)
	}
	if len(done.Changes) > 0 {
		d.made()
	}
	changes, err := d.ownAll(ctx, dir)
	done.Changes = append(done.Changes, changes...)
	return done, err
}

// choose is the datadir that is asked for, when it may be touched.
func (d *Datadirs) choose(dir string) (string, error) {
	if dir == "" {
		dir = d.fallback
	}
	if !slices.Contains(d.allowed, dir) {
		return "", errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
			fmt.Sprintf("cannot use datadir %.200q: it is not on the host's allow-list", dir),
			errs.WithHint("use one of "+strings.Join(d.allowed, ", ")+
				", or extend the agent's allow-list"))
	}
	opened, err := untrusted.Open(dir)
	if errors.Is(err, unix.ELOOP) {
		return "", unsafe(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("cannot use datadir %s: a link on its way is not root's alone", dir),
			errs.WithHint("name the directory itself in the agent's allow-list, or make the "+
				"directory with the link root's (ls -ld)"), errs.Wrap(err))
	}
	if err != nil {
		return "", unsafe(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("cannot use datadir %s: it is not a directory", dir),
			errs.WithHint("mount the data volume first", errs.Call("EnsureMount")),
			errs.Wrap(err))
	}
	return dir, opened.Close()
}

// expectedVolume is the datadir's volume, proved by its nonce when one is expected.
func (d *Datadirs) expectedVolume(ctx context.Context, dir, nonce string) (Volume, error) {
	volume, err := d.server.volumes.of(ctx, dir)
	if err != nil || nonce == "" {
		return volume, err
	}
	found, err := untrusted.Nonce(volume.Mount)
	if err != nil {
		return Volume{}, err
	}
	if found != nonce {
		return Volume{}, unsafe(errorsv1.Reason_REASON_NONCE_MISMATCH,
			fmt.Sprintf("cannot use datadir %s: its volume has nonce %.64q, not the snapshot's %q",
				dir, found, nonce),
			errs.WithHint("attach the volume that was made from the snapshot, then call again"),
			errs.Meta("found", found))
	}
	return volume, nil
}

// holdsMariaDB says whether the directory has MariaDB's own schema.
func holdsMariaDB(dir string) bool {
	datadir, err := untrusted.Open(dir)
	if err != nil {
		return false
	}
	defer datadir.Close()
	info, err := datadir.Stat("mysql")
	return err == nil && info.IsDir()
}

// guardVersion refuses a datadir that the binary would ruin.
func guardVersion(dir string, done *DatadirDone) error {
	if !holdsMariaDB(dir) {
		return unsafe(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("cannot use datadir %s: it has no files of MariaDB", dir),
			errs.WithHint("mount the volume that has it, or ask for a new one with initialize"))
	}
	var err error
	if done.Datadir, err = datadirVersion(dir); err != nil {
		return unsafe(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("cannot use datadir %s: its version is unknown", dir),
			errs.WithHint("correct the file mariadb_upgrade_info in it"), errs.Wrap(err))
	}
	if done.Datadir.newerSeries(done.Binary) {
		return unsafe(errorsv1.Reason_REASON_DATADIR_NEWER,
			fmt.Sprintf("cannot use datadir %s: MariaDB %s used it last, and %s is installed",
				dir, done.Datadir, done.Binary),
			errs.WithHint("use a machine image with MariaDB "+done.Datadir.String()+
				" or newer"),
			errs.Meta("datadir_version", done.Datadir.String()),
			errs.Meta("binary_version", done.Binary.String()))
	}
	if halfUpgraded(dir) && !done.Binary.newerSeries(done.Datadir) {
		return unsafe(errorsv1.Reason_REASON_DATADIR_NEWER,
			fmt.Sprintf("cannot use datadir %s: an upgrade from MariaDB %s to a newer one has "+
				"begun, and %s is installed", dir, done.Datadir, done.Binary),
			errs.WithHint("use a machine image with the MariaDB that began the upgrade"),
			errs.Meta("datadir_version", done.Datadir.String()),
			errs.Meta("binary_version", done.Binary.String()))
	}
	done.UpgradeNeeded = !done.Datadir.sameSeries(done.Binary)
	return nil
}

// running is the pid of the server that has the datadir open, or 0: it has locks on these files
// as long as it lives.
func running(dir string) (int, error) {
	datadir, err := untrusted.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot find out whether MariaDB runs on %s: %w", dir, err)
	}
	defer datadir.Close()
	for _, name := range []string{"aria_log_control", "ibdata1"} {
		file, err := datadir.OpenFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("cannot find out whether MariaDB runs on %s: %w", dir, err)
		}
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		err = unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock)
		file.Close()
		if err != nil {
			return 0, fmt.Errorf("cannot find out whether MariaDB runs on %s: %w", dir, err)
		}
		if lock.Type != unix.F_UNLCK {
			return max(int(lock.Pid), 1), nil
		}
	}
	return 0, nil
}

// mustStand refuses to touch the files of a running server.
func mustStand(dir, todo string) error {
	pid, err := running(dir)
	if err != nil || pid == 0 {
		return err
	}
	return unsafe(errorsv1.Reason_REASON_UNIT_WRONG_STATE,
		fmt.Sprintf("cannot %s: MariaDB (pid %d) runs on %s", todo, pid, dir),
		errs.WithHint("stop MariaDB first", errs.Call("StopUnit", "unit", Unit)),
		errs.Precondition("units/"+Unit, "is running"))
}

// ownAll gives MariaDB's user all files that are not its own.
func (d *Datadirs) ownAll(ctx context.Context, dir string) ([]string, error) {
	belongs, err := lookup(d.user)
	if err != nil {
		return nil, err
	}
	datadir, err := untrusted.Open(dir)
	if err != nil {
		return nil, err
	}
	defer datadir.Close()
	count, err := datadir.OwnAll(ctx, *belongs, notOurs)
	if err != nil || count == 0 {
		return nil, err
	}
	return []string{fmt.Sprintf("gave %d files to user %s", count, d.user)}, nil
}

// notOurs is true for what MariaDB's own tools leave to root, where it does no harm.
func notOurs(name string) bool {
	return name == "lost+found" || name == untrusted.Ours ||
		strings.HasPrefix(name, "debian-") && strings.HasSuffix(name, ".flag") ||
		strings.HasSuffix(name, "_upgrade_info")
}
