package replication

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Marks are what an agent noted that may have left changes out since its host's data was copied.
type Marks struct {
	Record string // id of the agent's record; empty for agents of earlier versions
	Last   int64  // number of the latest mark
	All    []Mark
}

// Mark is one of them.
type Mark struct {
	Number int64
	Text   string
}

// longestMark is what is told of a mark.
const longestMark = 300

// News says what was noted since an earlier look at a record, up to the mark with a number; empty
// when nothing was. A record that was lost may have had anything.
func (m Marks) News(record string, number int64) string {
	switch {
	case m.Record != record:
		return "its agent lost what it had noted of its replication"
	case m.Last < number:
		return "its agent has an older record of its replication than before"
	case m.Last == number:
		return ""
	}
	// One with a number beyond the latest one would be news for ever.
	later := slices.DeleteFunc(slices.Clone(m.All),
		func(one Mark) bool { return one.Number <= number || one.Number > m.Last })
	if len(later) == 0 {
		return "its agent noted that changes may be missing"
	}
	latest := slices.MaxFunc(later, func(a, b Mark) int { return cmp.Compare(a.Number, b.Number) })
	text := strings.ToValidUTF8(latest.Text[:min(len(latest.Text), longestMark)], "")
	if more := len(later) - 1; more > 0 {
		return fmt.Sprintf("%s (and %d more)", text, more)
	}
	return text
}
