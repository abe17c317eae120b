package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// nursery is where a new datadir grows, inside the empty one, so that half of one is never
	// taken for a whole.
	nursery = ".understudy-new"
	// grown marks a nursery that is complete and only waits to be moved.
	grown = ".complete"
)

// initialize makes a new datadir in an empty directory. One that is there already is left alone; a
// run that was interrupted is continued.
func (d *Datadirs) initialize(ctx context.Context, dir string) ([]string, error) {
	datadir, err := untrusted.Open(dir)
	if err != nil {
		return nil, err
	}
	defer datadir.Close()
	state, err := lookInto(datadir)
	if err != nil || state.complete {
		return nil, err
	}
	if len(state.others) > 0 && !state.grown {
		return nil, unsafe(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("cannot make a new datadir in %s: it is not empty (%s)", dir,
				state.others[0]), errs.WithHint("give it an empty volume"))
	}
	if err := mustStand(dir, "make a new datadir"); err != nil {
		return nil, err
	}
	if !state.grown {
		if err := d.grow(ctx, datadir); err != nil {
			return nil, err
		}
	}
	if err := moveIn(datadir); err != nil {
		return nil, diskError("cannot finish the new datadir in "+dir, err)
	}
	return []string{"made a new datadir"}, nil
}

type datadirState struct {
	complete, grown bool
	others          []string
}

func lookInto(dir *untrusted.Dir) (datadirState, error) {
	entries, err := dir.Entries()
	if err != nil {
		return datadirState{}, fmt.Errorf("cannot read the datadir: %w", err)
	}
	var state datadirState
	nurseryThere := false
	for _, e := range entries {
		switch e.Name() {
		case "lost+found", untrusted.Ours:
		case nursery:
			nurseryThere = true
		default:
			state.others = append(state.others, e.Name())
		}
	}
	system := slices.Contains(state.others, "mysql")
	state.complete = system && !nurseryThere
	place, err := dir.Sub(nursery)
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err != nil {
		return state, fmt.Errorf("cannot read the datadir: %w", err)
	}
	defer place.Close()
	inside, err := place.Entries()
	// The system schema moves last, and the mark goes before the nursery: an empty one beside the
	// schema has only to go.
	state.grown = system && len(inside) == 0 || slices.ContainsFunc(inside,
		func(e os.DirEntry) bool { return e.Name() == grown })
	return state, err
}

// grow makes the datadir in its nursery, from the beginning.
func (d *Datadirs) grow(ctx context.Context, dir *untrusted.Dir) error {
	const what = "cannot begin a new datadir"
	if err := dir.RemoveAll(nursery); err != nil {
		return diskError(what, err)
	}
	belongs, err := lookup(d.user)
	if err != nil {
		return err
	}
	place, _, err := dir.MakeSub(nursery, 0o700)
	if err != nil {
		return diskError(what, err)
	}
	defer place.Close()
	for _, one := range []*untrusted.Dir{dir, place} {
		if _, err := one.Own(*belongs); err != nil {
			return diskError(what, err)
		}
	}
	if err := d.installDB(ctx, place.Path(), belongs); err != nil {
		return err
	}
	return place.Write(grown, nil, 0o600)
}

func (d *Datadirs) installDB(ctx context.Context, place string, as *atomicfile.Owner) error {
	// --force: a host that cannot look up its own name gets a datadir as well; nothing in it
	// depends on the name. The script changes owners by paths that MariaDB's user can replace: it
	// does so as this user.
	args := []string{"--no-defaults", "--force", "--datadir=" + place,
		"--auth-root-authentication-method=socket", "--skip-test-db"}
	_, err := d.exec.Run(ctx, hostexec.Command{Tool: "mariadb-install-db", Args: args, As: as,
		Timeout: 5 * time.Minute})
	if err == nil {
		return nil
	}
	return toolFailed("cannot make a new datadir", "mariadb-install-db", err)
}

// moveIn moves the new datadir to its place, the system schema last: until then nobody takes it for
// a datadir.
func moveIn(dir *untrusted.Dir) error {
	place, err := dir.Sub(nursery)
	if err != nil {
		return err
	}
	defer place.Close()
	entries, err := place.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == grown || e.Name() == "mysql" {
			continue
		}
		if err := place.MoveTo(dir, e.Name()); err != nil {
			return err
		}
	}
	if err := place.MoveTo(dir, "mysql"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return dir.RemoveAll(nursery)
}
