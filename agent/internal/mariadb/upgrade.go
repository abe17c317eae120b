package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Upgrade brings the system tables to the binary's version, without writing to the binary log. It
// says whether it did something.
func (d *Datadirs) Upgrade(ctx context.Context, timeout time.Duration,
	say func(progress string) error) (at Version, changed bool, err error) {
	const what = "cannot upgrade the datadir"
	err = d.server.change(ctx, what, func() error {
		v, err := variables(ctx, d.server.db, "datadir", "version")
		if err != nil {
			return err
		}
		server, _ := parseVersion(v["version"])
		if at, err = datadirVersion(v["datadir"]); err != nil || at.sameSeries(server) {
			return err
		}
		if at.newerSeries(server) {
			return unsafe(errorsv1.Reason_REASON_DATADIR_NEWER,
				fmt.Sprintf("%s: it is of %s, and %s runs", what, at, server),
				errs.WithHint("install a MariaDB that is not older than the datadir"))
		}
		runErr := d.runUpgrade(ctx, v["datadir"], timeout, say)
		after, err := datadirVersion(v["datadir"])
		// Debian's start script upgrades as well; whoever came second finds it done, and may have
		// been told so as an error.
		if runErr != nil && (err != nil || !after.sameSeries(server)) {
			return runErr
		}
		if err == nil && !after.sameSeries(server) {
			return fmt.Errorf("it is still of %s", after)
		}
		at, changed = after, true
		return err
	})
	return at, changed, err
}

// runUpgrade runs MariaDB's tool as MariaDB's user: it does what the server answers, which may be
// somebody else.
func (d *Datadirs) runUpgrade(ctx context.Context, datadir string, timeout time.Duration,
	say func(string) error) error {
	belongs, err := lookup(d.user)
	if err != nil {
		return err
	}
	relay, err := openRelay(ctx, d.relayDir, d.socket, *belongs)
	if err != nil {
		return err
	}
	defer relay.close()
	args := []string{"--no-defaults", "--user=root", "--protocol=socket",
		"--socket=" + relay.socket()}
	run := func() error {
		return d.exec.Lines(ctx, hostexec.Command{Tool: "mariadb-upgrade", Args: args, As: belongs,
			Timeout: timeout}, func(line []byte) error {
			if text := strings.TrimSpace(string(line)); strings.HasPrefix(text, "Phase ") {
				return say(text)
			}
			return nil
		})
	}
	if _, err := d.ownInfo(datadir, *belongs); err != nil {
		return err
	}
	err = run()
	if err == nil || ctx.Err() != nil {
		return err
	}
	// Debian's start script may have made the file meanwhile, as root.
	if owned, ownErr := d.ownInfo(datadir, *belongs); ownErr == nil && owned {
		if err = run(); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return toolFailed("cannot upgrade the datadir", "mariadb-upgrade", err)
}

// ownInfo gives MariaDB's user the files with the version of a datadir that the agent may touch. It
// says whether one was another's.
func (d *Datadirs) ownInfo(datadir string, to atomicfile.Owner) (bool, error) {
	datadir = filepath.Clean(datadir)
	if !slices.Contains(d.allowed, datadir) {
		return false, nil
	}
	dir, err := untrusted.Open(datadir)
	if err != nil {
		return false, fmt.Errorf("cannot upgrade the datadir: %w", err)
	}
	defer dir.Close()
	changed := false
	for _, name := range upgradeInfo {
		did, err := dir.OwnFile(name, to)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return changed, fmt.Errorf("cannot upgrade the datadir: %w", err)
		}
		changed = changed || did
	}
	return changed, nil
}
