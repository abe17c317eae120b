package live

import (
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const frameTime = 100 * time.Millisecond

type (
	jobMsg   struct{ job *cpv1.Job }
	lostMsg  struct{ limit time.Duration }
	backMsg  struct{}
	endMsg   struct{}
	leaveMsg struct{}
	frameMsg time.Time
)

// model is all that the view knows; drawing is a function of it.
type model struct {
	style         show.Style
	now           func() time.Time
	job           *cpv1.Job
	told          time.Time
	lostUntil     time.Time // when the view gives up; zero while the control plane is there
	width, height int
	frame         int
	left, ended   bool
}

func nextFrame() tea.Cmd {
	return tea.Tick(frameTime, func(t time.Time) tea.Msg { return frameMsg(t) })
}

// Init starts what spins.
func (m model) Init() tea.Cmd { return nextFrame() }

// Update takes in what happened.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case jobMsg:
		m.job, m.told, m.lostUntil = msg.job, m.now(), time.Time{}
	case lostMsg:
		m.lostUntil = m.now().Add(msg.limit)
	case backMsg:
		m.lostUntil = time.Time{}
	case frameMsg:
		m.frame++
		return m, nextFrame()
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case endMsg:
		m.ended = true
		return m, tea.Quit
	case leaveMsg:
		m.left = true
		return m, tea.Quit
	case tea.KeyPressMsg:
		return m.key(msg)
	}
	return m, nil
}

func (m model) key(msg tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	switch msg.String() {
	case "ctrl+c", "ctrl+d", "q", "esc":
		m.left = true
		return m, tea.Quit
	}
	return m, nil
}

// View draws the job and a line about the view itself; nothing at the end, so that the caller's
// last word stands alone.
func (m model) View() tea.View {
	if m.left || m.ended || m.job == nil || m.width == 0 {
		return tea.NewView("")
	}
	return tea.NewView(m.draw())
}

func (m model) draw() string {
	footer := m.style.Dim("Ctrl-C leaves this view; the job goes on")
	screen := show.Screen{Style: m.style, Width: m.width, Height: max(4, m.height-3),
		Frame: m.frame, Since: m.now().Sub(m.told)}
	if !m.lostUntil.IsZero() {
		screen.Since = 0
		footer = m.style.Warn("the control plane cannot be reached: trying again for " +
			show.Duration(m.lostUntil.Sub(m.now()).Round(time.Second)) +
			"; the job goes on when it is back")
	}
	return show.Job(m.job, screen) + "\n" + footer
}
