package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/freeze"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// guardStart bounds the start of the guard, and the freeze itself beyond its limit.
	guardStart = 15 * time.Second
	// guardSlack is how much later than the guard itself systemd ends the guard.
	guardSlack = 400 * time.Millisecond
	// timerSlack is how much later than the guard itself a timer thaws, when all else failed.
	timerSlack = 4 * time.Second
)

// Freezer freezes filesystems on behalf of callers, each path once at a time.
type Freezer struct {
	host       *host
	allow      allowList
	units      TransientUnits
	runtimeDir string
	guardExec  []string
	log        *slog.Logger
	open       sync.Map // the paths that this agent has frozen
}

// Freeze freezes the filesystem mounted at the path until ctx is done, and never longer than the
// limit, whatever happens to the agent: another process freezes and thaws. Frozen is called
// when it is frozen. QUIESCE_BUSY when another caller has it frozen.
func (z *Freezer) Freeze(ctx context.Context, path string, limit time.Duration,
	frozen func(time.Time) error) (freeze.Report, error) {
	if err := z.allow.checkPath(path); err != nil {
		return freeze.Report{}, err
	}
	if _, mounted, err := z.host.mountedAt(path); err != nil || !mounted {
		return freeze.Report{},
			errors.Join(err, refuse(errorsv1.Reason_REASON_NOT_MOUNTED,
				"nothing is mounted at "+path,
				errs.WithHint("mount a volume there first",
					errs.Call("EnsureMount", "path", path))))
	}
	if _, busy := z.open.LoadOrStore(path, true); busy {
		return freeze.Report{}, frozenElsewhere(path, nil)
	}
	defer z.open.Delete(path)
	unit := guardUnit(path)
	l := &lease{freezer: z, path: path, limit: limit, unit: unit,
		timer:  strings.Replace(unit, "-freeze-", "-thaw-", 1),
		marker: filepath.Join(z.runtimeDir, unit+".frozen")}
	return l.run(ctx, frozen)
}

func guardUnit(path string) string {
	return systemd.TransientPrefix + "freeze-" + strings.TrimSuffix(systemd.MountUnit(path),
		".mount") + ".service"
}

func frozenElsewhere(path string, cause error) error {
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
		fmt.Sprintf("cannot freeze %s: another caller has it frozen", path),
		errs.Wrap(cause), errs.Retry(time.Second), errs.WithHint("wait until it is thawed"))
}

// lease is one freeze.
type lease struct {
	freezer *Freezer
	path    string
	limit   time.Duration
	// unit is the guard's; timer is the service that a timer starts; marker is the file that exists
	// while it may be frozen.
	unit, timer, marker string
}

func (l *lease) run(ctx context.Context, frozen func(time.Time) error) (freeze.Report, error) {
	socket := filepath.Join(l.freezer.runtimeDir, l.unit+".sock")
	listener, err := freeze.Listen(socket)
	if err != nil {
		return freeze.Report{}, fmt.Errorf("cannot freeze %s: %w", l.path, err)
	}
	defer listener.Close()
	// However this ends, the guard ends, and with it the freeze.
	defer l.end(context.WithoutCancel(ctx))
	if err := l.start(ctx, socket); err != nil {
		return freeze.Report{}, err
	}
	conn, err := l.accept(ctx, listener)
	if err != nil {
		return freeze.Report{}, err
	}
	defer conn.Close()
	// An end of writing is the word to thaw; the last report can still be read then.
	stop := context.AfterFunc(ctx, func() { _ = conn.(*net.UnixConn).CloseWrite() })
	defer stop()
	reports := json.NewDecoder(conn)
	if err := l.first(conn, reports); err != nil {
		return freeze.Report{}, err
	}
	// The guard's own limit ends it from here on.
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return freeze.Report{}, err
	}
	if err := frozen(time.Now()); err != nil {
		return freeze.Report{}, err
	}
	return l.last(reports)
}

func (l *lease) start(ctx context.Context, socket string) error {
	flags := []string{"--path", l.path, "--marker", l.marker}
	guard := append(append([]string{}, l.freezer.guardExec...), "freeze-guard", "--limit",
		l.limit.String(), "--socket", socket)
	thaw := append(append(append([]string{}, l.freezer.guardExec...), "thaw", "--unit", l.unit),
		flags...)
	// Whoever kills the guard's whole unit kills what runs after its end as well: a timer of its
	// own thaws then.
	err := l.freezer.units.StartTransientTimer(ctx, l.timer, l.limit+timerSlack,
		systemd.TransientSpec{
			Description: "Thaw of " + l.path, Exec: thaw, Type: "oneshot", OOMScoreAdjust: -900})
	if err != nil {
		return fmt.Errorf("cannot arm the end of the freeze: %w", err)
	}
	err = l.freezer.units.StartTransient(ctx, l.unit, systemd.TransientSpec{
		Description: "Freeze of " + l.path, Exec: append(guard, flags...),
		ExecStopPost: [][]string{thaw},
		RuntimeMax:   l.limit + guardSlack, TimeoutStop: guardStart, OOMScoreAdjust: -900,
	})
	if err != nil && errs.KindOf(err) == errs.AlreadyExists {
		return frozenElsewhere(l.path, err)
	}
	return err
}

func (l *lease) accept(ctx context.Context, listener *net.UnixListener) (net.Conn, error) {
	if err := listener.SetDeadline(time.Now().Add(guardStart)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	conn, err := listener.Accept()
	if err != nil {
		return nil, fmt.Errorf("cannot freeze %s: the process that thaws did not get ready: %w",
			l.path, errors.Join(ctx.Err(), err))
	}
	return conn, nil
}

// first reads whether it is frozen.
func (l *lease) first(conn net.Conn, reports *json.Decoder) error {
	var report freeze.Report
	if err := conn.SetReadDeadline(time.Now().Add(l.limit + guardStart)); err != nil {
		return err
	}
	if err := reports.Decode(&report); err != nil {
		return fmt.Errorf("cannot freeze %s: the process that freezes ended: %w", l.path, err)
	}
	switch {
	case report.Busy:
		return frozenElsewhere(l.path, errors.New(report.Error))
	case report.Error != "":
		return refuse(errorsv1.Reason_REASON_FILESYSTEM_FROZEN, report.Error,
			errs.WithHint("freeze a mounted ext4 or xfs filesystem"))
	}
	return nil
}

// last waits for the end, and says how it was.
func (l *lease) last(reports *json.Decoder) (freeze.Report, error) {
	var report freeze.Report
	err := reports.Decode(&report)
	if err != nil {
		return report, errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BROKEN,
			fmt.Sprintf("cannot keep %s frozen: its process is gone", l.path),
			errs.Wrap(err), errs.WithHint("delete the snapshot that was taken meanwhile"))
	}
	if report.Error != "" {
		return report, errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BROKEN,
			fmt.Sprintf("cannot keep %s frozen: %s", l.path, report.Error),
			errs.WithHint("delete the snapshot that was taken meanwhile"))
	}
	return report, nil
}

func (l *lease) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, guardStart)
	defer cancel()
	if err := l.freezer.units.StopTransient(ctx, l.unit); err != nil {
		l.freezer.log.Warn("cannot end the freeze's process; systemd ends it at its limit", "unit",
			l.unit, "error", err)
		return
	}
	if err := freeze.ThawMarked(ctx, l.path, l.marker, l.unit); err != nil {
		l.freezer.log.Error("cannot thaw; the timer tries again", "path", l.path, "error", err)
		return
	}
	if err := l.freezer.units.StopTransient(ctx, strings.TrimSuffix(l.timer, ".service")+
		".timer"); err != nil {
		l.freezer.log.Warn("cannot disarm a timer that has nothing to do any more", "unit", l.timer,
			"error", err)
	}
}
