package live

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"go.uber.org/goleak"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func aJob() *cpv1.Job {
	return &cpv1.Job{Name: "jobs/j-1", Title: "replica db2 of db1", State: cpv1.Job_STATE_RUNNING,
		Steps: []*cpv1.Step{{Name: "plan", Title: "all allows it", State: cpv1.Step_STATE_RUNNING}}}
}

// after is the model after messages, and what it then wants to do.
func after(t *testing.T, messages ...tea.Msg) (model, tea.Cmd) {
	t.Helper()
	var m tea.Model = model{style: show.Plain(show.Unicode()),
		now: func() time.Time { return noon }}
	var cmd tea.Cmd
	for _, msg := range append([]tea.Msg{tea.WindowSizeMsg{Width: 80, Height: 24}}, messages...) {
		m, cmd = m.Update(msg)
	}
	return m.(model), cmd
}

func quits(cmd tea.Cmd) bool {
	if cmd == nil {
		return false
	}
	_, ok := cmd().(tea.QuitMsg)
	return ok
}

func TestDrawsTheJob(t *testing.T) {
	t.Parallel()
	m, _ := after(t, jobMsg{aJob()})
	for _, want := range []string{"replica db2 of db1  RUNNING", "⠋ plan",
		"Ctrl-C leaves this view; the job goes on"} {
		if !strings.Contains(m.View().Content, want) {
			t.Errorf("%q is not in:\n%s", want, m.View().Content)
		}
	}
	m, _ = after(t, jobMsg{aJob()}, frameMsg(noon))
	if !strings.Contains(m.View().Content, "⠙ plan") {
		t.Errorf("nothing spins:\n%s", m.View().Content)
	}
}

func TestSaysThatTheControlPlaneIsAway(t *testing.T) {
	t.Parallel()
	away := "the control plane cannot be reached: trying again for 2m; the job goes on when it " +
		"is back"
	m, _ := after(t, jobMsg{aJob()}, lostMsg{2 * time.Minute})
	if !strings.Contains(m.View().Content, away) {
		t.Errorf("it does not say so:\n%s", m.View().Content)
	}
	for name, msg := range map[string]tea.Msg{"back": backMsg{}, "job": jobMsg{aJob()}} {
		m, _ = after(t, jobMsg{aJob()}, lostMsg{2 * time.Minute}, msg)
		if strings.Contains(m.View().Content, "cannot be reached") {
			t.Errorf("%s: it still says so:\n%s", name, m.View().Content)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for key, leaves := range map[tea.KeyPressMsg]bool{
		{Code: 'c', Mod: tea.ModCtrl}: true, {Code: 'd', Mod: tea.ModCtrl}: true,
		{Code: 'q', Text: "q"}: true, {Code: tea.KeyEscape}: true,
		{Code: 'x', Text: "x"}: false, {Code: tea.KeyEnter}: false,
	} {
		m, cmd := after(t, jobMsg{aJob()}, key)
		if m.left != leaves || quits(cmd) != leaves {
			t.Errorf("%s: left %v, quits %v", key, m.left, quits(cmd))
		}
	}
}

func TestTakesAwayWhatItDrew(t *testing.T) {
	t.Parallel()
	for _, msg := range []tea.Msg{endMsg{}, leaveMsg{}} {
		m, cmd := after(t, jobMsg{aJob()}, msg)
		if m.View().Content != "" || !quits(cmd) {
			t.Errorf("%T: %q", msg, m.View().Content)
		}
	}
	if m, _ := after(t); m.View().Content != "" {
		t.Errorf("before the first job: %q", m.View().Content)
	}
}

func TestRunEndsWithTheWork(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	v := New(Config{Out: &out, Style: show.Plain(show.Unicode())})
	left, err := v.Run(t.Context(), func(context.Context) {
		v.Job(aJob())
		v.Lost(errors.New("gone"), time.Minute)
		v.Back()
	})
	if left || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	v := New(Config{Out: &out, Style: show.Plain(show.Unicode())})
	left, err := v.Run(ctx, func(ctx context.Context) {
		cancel()
		<-ctx.Done()
	})
	if !left || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
}
