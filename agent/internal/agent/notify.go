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

// watchdog reports to systemd that the agent is alive for as long as check passes, three times in
// the interval that systemd asks for. It returns when ctx is done; an agent whose check fails is
// restarted by systemd.
func (s supervisor) watchdog(ctx context.Context, check func(context.Context) error) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("cannot read systemd's watchdog interval: %w", err)
	}
	if interval <= 0 {
		return nil
	}
	ticker := time.NewTicker(interval / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		bounded, cancel := context.WithTimeout(ctx, interval/3)
		err := check(bounded)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.log.Error("the agent does not answer itself", "error", err)
			continue
		}
		s.say(daemon.SdNotifyWatchdog)
	}
}
