package show

import (
	"charm.land/lipgloss/v2"
)

// none stands where there is nothing to show, so that columns stay columns for other programs.
const none = "-"

// Paint colours a text.
type Paint func(...string) string

// Style is how texts look on one output.
type Style struct {
	// Good, Bad and Warn tell how something went; Accent is what to look at now; Dim steps back;
	// Bold stands out.
	Good, Bad, Warn, Accent, Dim, Bold Paint
	// Glyphs are the signs to draw with.
	Glyphs Glyphs
}

// Glyphs are the signs that a terminal can draw.
type Glyphs struct {
	// Done, Failed, Question, Pending, Skipped and Waiting mark a step.
	Done, Failed, Question, Pending, Skipped, Waiting string
	// Spin marks a running step, one frame after the other.
	Spin []string
	// Full and Empty make a progress bar, BarLeft and BarRight its ends.
	Full, Empty, BarLeft, BarRight string
	// Ellipsis marks what was cut off.
	Ellipsis string
}

// Unicode are the signs for terminals that draw UTF-8.
func Unicode() Glyphs {
	return Glyphs{
		Done: "✓", Failed: "✗", Question: "?", Pending: "·", Skipped: "↷", Waiting: "…",
		Spin: []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"},
		Full: "█", Empty: "░", BarLeft: "", BarRight: "", Ellipsis: "…",
	}
}

// ASCII are the signs for all other terminals.
func ASCII() Glyphs {
	return Glyphs{
		Done: "+", Failed: "x", Question: "?", Pending: ".", Skipped: "-", Waiting: "~",
		Spin: []string{"|", "/", "-", "\\"},
		Full: "#", Empty: ".", BarLeft: "[", BarRight: "]", Ellipsis: "...",
	}
}

// Plain is a style without colours.
func Plain(glyphs Glyphs) Style {
	as := func(texts ...string) string { return lipgloss.NewStyle().Render(texts...) }
	return Style{Good: as, Bad: as, Warn: as, Accent: as, Dim: as, Bold: as, Glyphs: glyphs}
}

// Colour is a style in the sixteen colours that each terminal's user has chosen.
func Colour(glyphs Glyphs) Style {
	of := lipgloss.NewStyle
	return Style{
		Good:   of().Foreground(lipgloss.Green).Render,
		Bad:    of().Foreground(lipgloss.Red).Bold(true).Render,
		Warn:   of().Foreground(lipgloss.Yellow).Render,
		Accent: of().Foreground(lipgloss.Cyan).Render,
		Dim:    of().Faint(true).Render, Bold: of().Bold(true).Render, Glyphs: glyphs,
	}
}

// State colours the name of a state of a server, snapshot, job or provider's object.
func (s Style) State(state string) string {
	switch state {
	case "READY", "SUCCEEDED", "running", "available", "in-use", "completed":
		return s.Good(state)
	case "FAILED", "DEGRADED", "UNREACHABLE", "error":
		return s.Bad(state)
	case "ACTION_REQUIRED", "CANCELLED", "CANCELLING", "DELETING", "UNKNOWN":
		return s.Warn(state)
	case "RUNNING", "WAITING", "PROVISIONING", "PENDING", "pending":
		return s.Accent(state)
	case "DELETED", "terminated", "deleted":
		return s.Dim(state)
	default:
		return state
	}
}

// width is how many columns of a terminal a text takes.
func width(text string) int { return lipgloss.Width(text) }
