package show

import (
	"strings"
)

// Table lays rows out in columns, two spaces apart, the head in bold. An empty cell shows as "-".
// Where the table is wider than so many columns, the widest cells are cut and end in an ellipsis; a
// width of 0 leaves all whole.
func Table(style Style, head []string, rows [][]string, columns int) string {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], width(orNone(cell)))
		}
	}
	if columns > 0 {
		shrink(widths, columns)
	}
	var b strings.Builder
	titles := make([]string, len(head))
	for i, title := range head {
		titles[i] = style.Bold(title)
	}
	writeRow(&b, style, widths, titles)
	for _, row := range rows {
		writeRow(&b, style, widths, row)
	}
	return b.String()
}

// shrink takes columns off the widest until the table fits; off the first, by which commands name a
// record, last.
func shrink(widths []int, columns int) {
	const least = 4
	over := 2*(len(widths)-1) - columns
	for _, width := range widths {
		over += width
	}
	for ; over > 0; over-- {
		widest := 0
		for i := 1; i < len(widths); i++ {
			if widths[i] > least && (widest == 0 || widths[i] >= widths[widest]) {
				widest = i
			}
		}
		if widths[widest] <= least {
			return
		}
		widths[widest]--
	}
}

func writeRow(b *strings.Builder, style Style, widths []int, row []string) {
	cells := make([]string, len(row))
	for i, cell := range row {
		cells[i] = pad(cut(orNone(cell), widths[i], style.Glyphs.Ellipsis), widths[i])
	}
	b.WriteString(strings.TrimRight(strings.Join(cells, "  "), " ") + "\n")
}

// Field is a line of a record: what it is, and its values, one below the other.
type Field struct {
	// Name says what it is.
	Name string
	// Values are shown one a line; a field without any is left out.
	Values []string
}

// Fields lays out a record, names to the left. Fields without a value are left out.
func Fields(style Style, fields []Field) string {
	longest := 0
	for _, f := range fields {
		if len(values(f)) > 0 {
			longest = max(longest, width(f.Name)+1)
		}
	}
	var b strings.Builder
	for _, f := range fields {
		name := f.Name + ":"
		for _, value := range values(f) {
			b.WriteString(style.Dim(pad(name, longest)) + "  " + value + "\n")
			name = ""
		}
	}
	return b.String()
}

func values(f Field) []string {
	var some []string
	for _, v := range f.Values {
		if v != "" {
			some = append(some, v)
		}
	}
	return some
}

func orNone(cell string) string {
	if cell == "" {
		return none
	}
	return cell
}
