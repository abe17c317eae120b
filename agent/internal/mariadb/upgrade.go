package mariadb

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Upgrade brings the system tables to the binary's version, without writing to the binary log. It
// says whether it did something.
func (d *Datadirs) Upgrade(ctx context.Context, timeout time.Duration,
	say func(progress string) error) (Version, bool, error) {
	const what = "cannot upgrade the datadir"
	d.server.changes.Lock()
	defer d.server.changes.Unlock()
	if err := d.server.require(ctx, what); err != nil {
		return Version{}, false, err
	}
	v, err := variables(ctx, d.server.db, "datadir", "version")
	if err != nil {
		return Version{}, false, failure(what, err)
	}
	server, _ := parseVersion(v["version"])
	before, err := datadirVersion(v["datadir"])
	if err != nil {
		return Version{}, false, err
	}
	if before.newerSeries(server) {
		return before, false, unsafe(errorsv1.Reason_REASON_DATADIR_NEWER,
			fmt.Sprintf("%s: it is of %s, and %s runs", what, before, server),
			errs.WithHint("install a MariaDB that is not older than the datadir"))
	}
	if before.sameSeries(server) {
		return before, false, nil
	}
	runErr := d.runUpgrade(ctx, timeout, say)
	after, err := datadirVersion(v["datadir"])
	// Debian's start script upgrades as well; whoever came second finds it done, and may have been
	// told so as an error.
	if runErr != nil && (err != nil || !after.sameSeries(server)) {
		return before, false, runErr
	}
	if err == nil && !after.sameSeries(server) {
		err = fmt.Errorf("%s: it is still of %s", what, after)
	}
	return after, true, err
}

func (d *Datadirs) runUpgrade(ctx context.Context, timeout time.Duration,
	say func(string) error) error {
	args := []string{"--no-defaults", "--user=root", "--protocol=socket",
		"--socket=" + d.socket}
	err := d.exec.Lines(ctx, hostexec.Command{Tool: "mariadb-upgrade", Args: args,
		Timeout: timeout}, func(line []byte) error {
		if text := strings.TrimSpace(string(line)); strings.HasPrefix(text, "Phase ") {
			return say(text)
		}
		return nil
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	code, _ := hostexec.CodeOf(err)
	return errs.New(errs.Internal, errorsv1.Reason_REASON_TOOL_FAILED, "cannot upgrade the datadir",
		errs.Wrap(err),
		errs.Meta("tool", "mariadb-upgrade"), errs.Meta("exit_code", strconv.Itoa(code)),
		errs.WithHint("correct what its output in the agent's log says, then call again"))
}
