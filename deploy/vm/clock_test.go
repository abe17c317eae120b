//go:build vm

package vm

import (
	"strings"
	"testing"
	"time"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestClockAtEnrolment boots a machine whose clock is years ahead: it joins once its clock is set,
// and not before.
func TestClockAtEnrolment(t *testing.T) {
	s := newSite(t)
	ahead := time.Now().AddDate(5, 0, 0).UTC()
	s.clocks[primary] = ahead.Format("2006-01-02T15:04:05")
	s.joins = func(m *machine) {
		line := s.do("token", "create", m.name, "--ttl", "2h")
		out, err := m.try(t.Context(), line+" 2>&1")
		for _, word := range []string{"missing  clock", "apart", ahead.Format("2006-01-"),
			time.Now().UTC().Format("2006-01-02T"), "set the clock that is wrong"} {
			if err == nil || !strings.Contains(out, word) {
				t.Errorf("joined without %q: %v\n%s", word, err, out)
			}
		}
		t.Logf("refused:\n%s", out)
		s.waitsForItsClock(m)
	}
	s.until(s.asks("server", "create", primary, "--image", "trixie", "--size", "1GiB"))
	s.becomes(primary, cpv1.Server_STATE_READY)
}

// waitsForItsClock starts the agent with a join file, as an image does, and sets the clock when the
// agent has named it.
func (s *site) waitsForItsClock(m *machine) {
	s.t.Helper()
	file := s.do("token", "create", m.name, "--ttl", "2h", "--out", "-")
	if _, err := m.feed(s.t.Context(), "umask 077; mkdir -p /etc/understudy-agent; "+
		"cat >/etc/understudy-agent/join.json; systemctl enable --now --no-block understudy-agent",
		file); err != nil {
		s.t.Fatal(err)
	}
	await(s.t, "the agent names the clocks", func() bool {
		log := m.run(s.t, "journalctl --no-pager --output=cat -u understudy-agent")
		return strings.Contains(log, "the clocks are") && strings.Contains(log, "apart")
	})
	m.setClock(s.t)
}
