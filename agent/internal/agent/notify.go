package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// supervisor reports the agent's state to systemd. Without systemd it does nothing.
type supervisor struct{ log *slog.Logger }

func (s supervisor) status(format string, args ...any) {
	s.say("STATUS=" + fmt.Sprintf(format, args...))
}

func (s supervisor) ready() { s.say(daemon.SdNotifyReady) }

func (s supervisor) stopping() { s.say(daemon.SdNotifyStopping) }

func (s supervisor) say(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("cannot notify systemd", "state", state, "error", err)
	}
}

// watchdog reports to systemd that the agent is alive for as long as check passes, at half the
// interval that systemd asks for. It returns when ctx is done; an agent whose check fails is
// restarted by systemd. While held says that MariaDB is held for a snapshot, systemd waits longer:
// a host that is short of time must not lose its hold with its agent, and the hold has a limit of
// its own.
func (s supervisor) watchdog(ctx context.Context, check func(context.Context) error,
	held func() bool) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("cannot read systemd's watchdog interval: %w", err)
	}
	if interval <= 0 {
		return nil
	}
	ticker := time.NewTicker(interval / 6)
	defer ticker.Stop()
	patient, pinged := false, time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if now := held(); now != patient {
			patient = now
			s.say(watchdogInterval(interval, patient))
		}
		if patient || time.Since(pinged) < interval/3 {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, interval/3)
		err := check(bounded)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.log.Error("the agent does not answer itself", "error", err)
			continue
		}
		s.say(daemon.SdNotifyWatchdog)
		pinged = time.Now()
	}
}

// heldInterval is longer than any hold may last.
const heldInterval = 25 * time.Hour

// watchdogInterval is the message that sets systemd's watchdog anew, and pings it.
func watchdogInterval(interval time.Duration, patient bool) string {
	if patient {
		interval = heldInterval
	}
	return fmt.Sprintf("WATCHDOG_USEC=%d\n%s", interval.Microseconds(), daemon.SdNotifyWatchdog)
}
