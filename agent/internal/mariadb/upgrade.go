package mariadb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
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
		runErr := d.runUpgrade(ctx, timeout, say)
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
	return toolFailed("cannot upgrade the datadir", "mariadb-upgrade", err)
}
