package show

import (
	"fmt"
	"strings"

	"github.com/understudy-db/understudy/proto/size"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const barWidth = 24

// Progress is one line that says how far a step is: a bar where the end is known, the figures, the
// text, and what is left. It is empty when nothing is known.
func Progress(p *cpv1.StepProgress, screen Screen) string {
	parts := []string{}
	if p.GetTotal() > 0 {
		parts = append(parts, bar(share(p), screen.Style), fmt.Sprintf("%3.0f%%", 100*share(p)))
	}
	if figures := figures(p); figures != "" {
		parts = append(parts, figures)
	}
	if p.GetText() != "" {
		parts = append(parts, Clean(p.GetText()))
	}
	if p.GetRemaining() != nil {
		parts = append(parts, "about "+Duration(p.GetRemaining().AsDuration())+" left")
	}
	return cut(strings.Join(parts, "  "), tail(screen.Width, len(indent)),
		screen.Style.Glyphs.Ellipsis)
}

func share(p *cpv1.StepProgress) float64 {
	return min(1, max(0, float64(p.GetDone())/float64(p.GetTotal())))
}

func bar(share float64, st Style) string {
	full := int(share*barWidth + 0.5)
	return st.Glyphs.BarLeft + st.Accent(strings.Repeat(st.Glyphs.Full, full)) +
		st.Dim(strings.Repeat(st.Glyphs.Empty, barWidth-full)) + st.Glyphs.BarRight
}

func figures(p *cpv1.StepProgress) string {
	unit := Clean(p.GetUnit())
	switch {
	case unit == "percent", p.GetDone() == 0 && p.GetTotal() == 0:
		return ""
	case unit == "bytes" && p.GetTotal() > 0:
		return size.Text(p.GetDone()) + " of " + size.Text(p.GetTotal())
	case unit == "bytes":
		return size.Text(p.GetDone())
	case p.GetTotal() > 0:
		return strings.TrimSpace(fmt.Sprintf("%d of %d %s", p.GetDone(), p.GetTotal(), unit))
	default:
		return strings.TrimSpace(fmt.Sprintf("%d %s", p.GetDone(), unit))
	}
}
