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
	// LostRows: the server may have lost rows that its replicas have.
	LostRows bool
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
	later := m.after(number)
	if len(later) == 0 {
		return "its agent noted that changes may be missing"
	}
	if more := len(later) - 1; more > 0 {
		return fmt.Sprintf("%s (and %d more)", later[0].text(), more)
	}
	return later[0].text()
}

// Lost says what may have cost the server rows that its replicas have, since an earlier look at a
// record; empty when nothing did. Of a record that is not that one, all of it counts.
func (m Marks) Lost(record string, number int64) string {
	if m.Record != record || m.Last < number {
		number = 0
	}
	for _, one := range m.after(number) {
		if one.LostRows {
			return one.text()
		}
	}
	return ""
}

// after are the marks beyond a number, the latest first. One with a number beyond that of the
// latest mark would be news for ever.
func (m Marks) after(number int64) []Mark {
	later := slices.DeleteFunc(slices.Clone(m.All),
		func(one Mark) bool { return one.Number <= number || one.Number > m.Last })
	slices.SortStableFunc(later, func(a, b Mark) int { return cmp.Compare(b.Number, a.Number) })
	return later
}

func (m Mark) text() string {
	return strings.ToValidUTF8(m.Text[:min(len(m.Text), longestMark)], "")
}
