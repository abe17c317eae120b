package show

import (
	"strings"
)

// Table lays rows out in columns, two spaces apart, the head in bold. An empty cell shows as "-".
// Lines are cut to so many columns; a width of 0 leaves them whole.
func Table(style Style, head []string, rows [][]string, columns int) string {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], width(orNone(cell)))
		}
	}
	var b strings.Builder
	titles := make([]string, len(head))
	for i, title := range head {
		titles[i] = style.Bold(title)
	}
	writeRow(&b, widths, titles, columns)
	for _, row := range rows {
		writeRow(&b, widths, row, columns)
	}
	return b.String()
}

func writeRow(b *strings.Builder, widths []int, row []string, columns int) {
	cells := make([]string, len(row))
	for i, cell := range row {
		cells[i] = pad(orNone(cell), widths[i])
	}
	b.WriteString(strings.TrimRight(cut(strings.Join(cells, "  "), columns, ""), " ") + "\n")
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
