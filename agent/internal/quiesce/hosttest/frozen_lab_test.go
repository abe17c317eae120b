//go:build lab

package hosttest

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A freeze has no owner. An operator's, of before ours or of after it, is thawed by none of what
// resumes MariaDB.
func TestTheFreezeOfAnotherProgramStays(t *testing.T) {
	h := newHost(t)
	t.Run("when it was first", func(t *testing.T) {
		// In the moment in which MariaDB is stopped for ours.
		const first = "/etc/systemd/system/mariadb.service.d/first.conf"
		lab.Write(t, "/run/first", "")
		lab.Write(t, first,
			"[Service]\nExecStopPost=-+/bin/sh -c 'rm /run/first && fsfreeze -f "+volume+"'\n")
		lab.Run(t, "systemctl", "daemon-reload")
		defer lab.Run(t, "systemctl", "daemon-reload")
		defer os.Remove(first)
		failed := make(chan error, 1)
		go func() {
			_, err := h.manager.Start(lab.Context(t), spec(quiesce.Offline, time.Minute),
				func(p string) { t.Log(p) })
			failed <- err
		}()
		lab.Eventually(t, time.Minute, "MariaDB is started again", func() bool {
			unit, err := h.units.Get(lab.Context(t), "mariadb.service")
			_, before := os.Stat("/run/first")
			return err == nil && before != nil && unit.Active == "activating"
		})
		lab.Run(t, "fsfreeze", "-u", volume) // an error unless it is frozen
		if err := <-failed; errs.ReasonOf(err) != errorsv1.Reason_REASON_FILESYSTEM_FROZEN {
			t.Error(err)
		}
		h.serves(t, 50*time.Second)
	})
	t.Run("when ours is over", func(t *testing.T) {
		session := h.open(t, spec(quiesce.Offline, time.Minute))
		kill(t, h)
		lab.Ends(t, "the session", session.Ended())
		h.serves(t, 50*time.Second)
		var left struct{ Commands [][]string }
		text, err := os.ReadFile("/run/understudy-agent/quiesce.recovery")
		if err == nil {
			err = json.Unmarshal(text, &left)
		}
		if err != nil || len(left.Commands) != 1 {
			t.Fatalf("%+v %v", left, err)
		}
		lab.Run(t, "fsfreeze", "-f", volume)
		lab.Run(t, left.Commands[0]...)
		lab.Run(t, "fsfreeze", "-u", volume)
	})
	t.Run("before anything is written", func(t *testing.T) {
		lab.Run(t, "fsfreeze", "-f", volume)
		_, err := h.manager.Start(lab.Context(t), spec(quiesce.Online, time.Minute),
			func(p string) { t.Log(p) })
		lab.Run(t, "fsfreeze", "-u", volume)
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_FILESYSTEM_FROZEN {
			t.Error(err)
		}
		h.serves(t, time.Minute)
	})
}
